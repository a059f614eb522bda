//! `inspect`: shows what is there, in the format's words, and no store id; damage in what is shown is an error.

use tidelog::disk::sim::{SimDisk, run};
use tidelog::{Error, Hex, Inspect, inspect_on};

use super::image::{self, Image};
use super::{closed, generation, not_closed};

const KINDS: [Inspect; 5] =
    [Inspect::Store, Inspect::Manifest, Inspect::Log, Inspect::Slot(0), Inspect::Slot(2)];

fn shown(disk: &SimDisk, what: Inspect, hex: Hex) -> Result<String, Error> {
    let before = disk.files();
    let shown = run(disk, inspect_on(disk.clone(), image::DIR, what, hex)).unwrap();
    assert_eq!((disk.counts().writes, disk.files()), (0, before), "looking changes nothing");
    shown
}

fn store_id(image: &Image) -> Vec<u8> {
    image.disk.file_bytes(image.newest_manifest()).unwrap()[16..32].to_vec()
}

#[test]
fn everything_is_shown_but_the_store_id() {
    for image in [closed(), not_closed().0] {
        let id: String = store_id(&image).iter().map(|byte| format!("{byte:02x}")).collect();
        for what in KINDS {
            for hex in [Hex::Hidden, Hex::Shown] {
                let text = shown(&image.copy(), what, hex).unwrap();
                let digits: String = text.to_lowercase().chars().filter(char::is_ascii_hexdigit).collect();
                assert!(!digits.contains(&id) && !digits.contains(&id[..16]), "{what:?} {hex:?}");
            }
        }
        let newest = generation(&image.newest_manifest());
        let text = shown(&image.copy(), Inspect::Store, Hex::Hidden).unwrap();
        let named = [format!("manifest generation: {newest}\n"), "segment 2 active: slot 2".to_owned()];
        assert!(named.iter().all(|part| text.contains(part)), "{text}");
        let text = shown(&image.copy(), Inspect::Manifest, Hex::Hidden).unwrap();
        for part in
            ["000000  magic: TLMANIFE\n", "section: 1 (schema)", "name: \"blob\"", "store id: not shown"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = shown(&image.copy(), Inspect::Log, Hex::Hidden).unwrap();
        let records = image.records();
        assert_eq!(text.lines().count(), records.len());
        for record in &records {
            let page = record.bytes.start / 4096;
            assert!(text.contains(&format!("page {page}: record {},", record.sequence)), "{text}");
        }
        let text = shown(&image.copy(), Inspect::Slot(0), Hex::Shown).unwrap();
        assert!(text.contains("3.offsets: offsets of \"name\", text; D "), "{text}");
        assert!(text.contains("000000  544c4f4753554d53                    magic: TLOGSUMS\n"), "{text}");
    }
}

#[test]
fn what_cannot_be_shown_is_an_error_that_names_it() {
    let image = closed();
    let error = shown(&image.copy(), Inspect::Slot(7), Hex::Hidden).unwrap_err();
    assert!(matches!(&error, Error::NotAStore { path, .. } if path.ends_with("raw-7")), "{error}");
    for (name, what) in [("raw-0/sums", Inspect::Slot(0)), ("raw-2/keys", Inspect::Slot(2))] {
        let disk = image.copy();
        disk.unlink(image.path(name)).unwrap();
        let error = shown(&disk, what, Hex::Hidden).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    let disk = image.copy();
    disk.flip(image.newest_manifest(), 100, 1).unwrap();
    let error = shown(&disk, Inspect::Manifest, Hex::Hidden).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}
