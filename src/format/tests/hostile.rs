//! Bytes that somebody wrote who knows the store's id, with right checksums: what they contradict is refused. Those of a
//! segment's index are in `segments`.

use std::collections::BTreeSet;

use super::super::cursor::Field;
use super::*;

pub(super) const EXTREMES: [u64; 24] = [
    0,
    1,
    2,
    3,
    7,
    8,
    0x7F,
    0xFF,
    4095,
    4096,
    0xFFFF,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 44,
    1 << 48,
    (1 << 62) + 1,
    (1 << 63) - 4097,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 4096,
    u64::MAX - 1,
    u64::MAX,
];

/// Writes each extreme into each field that a decoder named, and returns the names of those in which some other
/// value than the one that was there is accepted. The decoder must not panic, and what it accepts it must write
/// again as the same bytes.
pub(super) fn free_fields(
    bytes: &[u8],
    base: u64,
    fields: &[Field],
    accepts: impl Fn(&mut [u8]) -> bool,
) -> Vec<String> {
    let mut free = BTreeSet::new();
    for field in fields {
        let at = (field.offset - base) as usize;
        let Some(found) = field.bytes.as_ref().filter(|found| found.len() <= 8) else { continue };
        let (was, len) = (number(found), found.len());
        for value in EXTREMES.into_iter().chain([was.wrapping_sub(1), was.wrapping_add(1)]) {
            let mut changed = bytes.to_vec();
            put(&mut changed, at, &value.to_le_bytes()[..len]);
            if accepts(&mut changed) && changed != bytes {
                free.insert(field.name.clone());
            }
        }
    }
    free.into_iter().collect()
}

pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Sees that a change of a right piece, signed anew, is refused as damage that no crash explains.
pub(super) struct Refusal<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) decode: &'a dyn Fn(&mut Vec<u8>) -> Option<Malformed>,
}

impl Refusal<'_> {
    #[track_caller]
    pub(super) fn of(&self, what: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes.to_vec();
        change(&mut bytes);
        let Some(refused) = (self.decode)(&mut bytes) else { panic!("{what}: accepted") };
        assert!(refused.intact, "{what}: {refused:?}");
        assert_eq!(refused.version, None, "{what}");
    }

    #[track_caller]
    pub(super) fn of_u64(&self, what: &str, at: usize, values: &[u64]) {
        values.iter().for_each(|value| self.of(what, |bytes| put(bytes, at, &value.to_le_bytes())));
    }

    #[track_caller]
    pub(super) fn of_u32(&self, what: &str, at: usize, values: &[u32]) {
        values.iter().for_each(|value| self.of(what, |bytes| put(bytes, at, &value.to_le_bytes())));
    }

    #[track_caller]
    pub(super) fn of_u8(&self, what: &str, at: usize, values: &[u8]) {
        values.iter().for_each(|value| self.of(what, |bytes| bytes[at] = *value));
    }
}

pub(super) const FAR: [u64; 3] = [1 << 63, u64::MAX - 7, u64::MAX];
pub(super) const MANY: [u32; 4] = [1 << 16, 1 << 31, u32::MAX - 1, u32::MAX];

#[test]
fn a_field_of_a_record_is_refused_unless_it_is_free() {
    let cases = [
        (
            small_record(),
            PLACE,
            &[
                "checksum of the previous record",
                "epoch",
                "first row",
                "form",
                "inline bytes",
                "manifest generation",
                "sequence",
            ][..],
        ),
        (
            large_record(),
            BEHIND,
            &[
                "checksum of the previous record",
                "epoch",
                "first row",
                "manifest generation",
                "rows",
                "sequence",
                "sums of chunks",
            ],
        ),
    ];
    for (bytes, place, expected) in cases {
        let mut fields = Vec::new();
        record::decode_traced(&bytes, place, &STORE, Some(&mut fields)).unwrap();
        let free = free_fields(&bytes, place.offset(), &fields, |bytes| {
            resign_record(bytes, place);
            read_record(bytes, place).is_ok()
        });
        assert_eq!(free, expected);
    }
}

fn refuse_small(check: impl FnOnce(&Refusal<'_>)) {
    let decode = |bytes: &mut Vec<u8>| {
        resign_record(bytes, PLACE);
        read_record(bytes, PLACE).err()
    };
    check(&Refusal { bytes: &small_record(), decode: &decode });
}

#[test]
fn a_record_whose_header_contradicts_itself_is_refused() {
    refuse_small(|refuse| {
        refuse.of_u32("pages", 12, &[0, 2, u32::MAX]);
        refuse.of_u64("epoch", 32, &[0, 1 << 63, u64::MAX]);
        refuse.of_u64("sequence", 40, &[0, 1, 1 << 63, u64::MAX]);
        refuse.of_u64("generation", 56, &[0, 1 << 63, u64::MAX]);
        refuse.of_u64("bytes of sections", 64, &[0, 272, 288, 279, 281, 4000, 4001, 1 << 32, u64::MAX]);
        for at in (10..12).chain(88..96) {
            refuse.of_u8("reserved", at, &[1]);
        }
    });
}

#[test]
fn a_record_whose_version_is_zero_is_refused() {
    refuse_small(|refuse| refuse.of("version", |bytes| put(bytes, 8, &[0, 0])));
}

#[test]
fn a_record_whose_sections_are_out_of_order_is_refused() {
    refuse_small(|refuse| {
        refuse.of_u8("tag", 96, &[0, 2, 3, 255]);
        refuse.of_u8("tag of the note", 352, &[0, 1, 3, 6, 255]);
        refuse.of_u8("reserved", 98, &[1]);
        refuse.of_u32("length", 100, &[0, 240, 247, 248, 256]);
        refuse.of_u32("length", 100, &MANY);
        refuse.of_u32("length of the note", 356, &[0, 13, 17, 4097]);
        refuse.of_u32("length of the note", 356, &MANY);
        // The first section twice, and the second before the first.
        let (rows, note) = (small_record()[96..352].to_vec(), small_record()[352..376].to_vec());
        for sections in
            [[&rows[..], &rows].concat(), [&note[..], &rows].concat(), [&note[..], &note].concat()]
        {
            refuse.of("order", |bytes| {
                bytes[96..].fill(0);
                put(bytes, 64, &(sections.len() as u64).to_le_bytes());
                put(bytes, 96, &sections);
            });
        }
        refuse.of("half a section", |bytes| put(bytes, 64, &(284_u64).to_le_bytes()));
    });
}

#[test]
fn padding_of_a_record_that_is_not_zero_is_refused() {
    refuse_small(|refuse| {
        for at in (350..352).chain(374..4096) {
            refuse.of_u8("padding", at, &[1, 0x80]);
        }
    });
}

#[test]
fn rows_that_contradict_themselves_are_refused() {
    refuse_small(|refuse| {
        refuse.of_u64("first row", 104, &[(1 << 63) - 2, 1 << 63, u64::MAX]);
        refuse.of_u64("rows", 112, &[0, 1, 3, (1 << 63) - 1, u64::MAX]);
        // What a small commit of a file's first bytes says, a large one may say too.
        refuse.of_u8("form", 128, &[0, 3, 255]);
        refuse.of_u8("reserved", 131, &[1]);
        refuse.of_u32("files", 132, &[0, 4, 6, 12_290]);
        refuse.of_u32("files", 132, &MANY);
        for file in 0..5 {
            let at = 136 + 32 * file;
            refuse.of_u64("bytes in the file", at, &[1, 4095, 4096, 1 << 44]);
            refuse.of_u64("bytes in the file", at, &FAR);
            refuse.of_u64("length", at + 8, &[0, 1, 4096, 1 << 44]);
            refuse.of_u64("length", at + 8, &FAR);
            refuse.of_u64("inline bytes begin at", at + 16, &[1, 17, 4096]);
            refuse.of_u64("inline bytes begin at", at + 16, &FAR);
            refuse.of_u32("first chunk", at + 24, &[1, u32::MAX]);
            refuse.of_u32("chunks", at + 28, &[1, 2]);
            refuse.of_u32("chunks", at + 28, &MANY);
        }
        // L near 2^64 with inline bytes that would fit.
        for far in [1 << 44, 1 << 48, 1 << 63, u64::MAX - 4, u64::MAX] {
            refuse.of("far inline bytes", |bytes| {
                put(bytes, 136 + 8, &far.to_le_bytes());
                put(bytes, 136 + 16, &(far - 16).to_le_bytes());
            });
        }
        refuse.of_u64("last key", 120, &[0, key(1) - 1, key(1) + 1, u64::MAX]);
        refuse.of_u64("a key above the next", 296, &[key(0) + 1, u64::MAX]);
        refuse.of_u64("a key that is not the last", 304, &[0, key(1) + 1]);
        refuse.of("inline bytes of two files that overlap", |bytes| {
            put(bytes, 136 + 8, &4000_u64.to_le_bytes());
            put(bytes, 168 + 8, &4000_u64.to_le_bytes());
        });
    });
}

#[test]
fn large_rows_that_contradict_themselves_are_refused() {
    let bytes = large_record();
    let decode = |bytes: &mut Vec<u8>| {
        resign_record(bytes, BEHIND);
        read_record(bytes, BEHIND).err()
    };
    let refuse = Refusal { bytes: &bytes, decode: &decode };
    // The files hold 77,824 bytes of keys in two chunks; 2,192 bytes are inline.
    assert_eq!((number(&bytes[136..144]), number(&bytes[144..152])), (77_824, 80_016));
    refuse.of_u8("form", 128, &[0, 1, 3]);
    refuse.of_u64("bytes in the file", 136, &[0, 4096, 77_823, 73_728, 65_536, 81_920, 1 << 43, 1 << 44]);
    refuse.of_u64("bytes in the file", 136, &FAR);
    refuse.of_u64("length", 144, &[0, 77_823, 80_017, 81_920, 1 << 44]);
    refuse.of_u64("inline bytes begin at", 152, &[0, 77_816, 77_825, 80_017]);
    refuse.of_u64("inline bytes begin at", 152, &FAR);
    refuse.of_u32("first chunk", 160, &[1, 2, u32::MAX]);
    refuse.of_u32("chunks", 164, &[0, 1, 3]);
    refuse.of_u32("chunks", 164, &MANY);
    refuse.of_u64("rows", 112, &[0, 10_003, 1 << 60, (1 << 63) - 2, u64::MAX]);
    refuse.of("no whole pages", |bytes| {
        for (at, was) in [(136, 77_824_u64), (144, 80_016), (152, 77_824)] {
            put(bytes, at, &(was + 8).to_le_bytes());
        }
    });
    refuse.of("a whole page inline", |bytes| {
        put(bytes, 136, &73_728_u64.to_le_bytes());
        put(bytes, 152, &73_728_u64.to_le_bytes());
    });
    // First keys stand behind eight sums.
    refuse.of("keys that go back", |bytes| put(bytes, 328, &u64::MAX.to_le_bytes()));
    refuse.of_u64("a first key above the last key", 336, &[u64::MAX]);
    refuse.of_u64("a last key below a first key", 120, &[0, key(8191)]);
}

#[test]
fn a_form_that_does_not_fit_the_files_is_refused() {
    fn refused(rows: &Rows<'_>, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = write(identity(PLACE, 7), Some(rows), None);
        change(&mut bytes);
        resign_record(&mut bytes, PLACE);
        assert!(read_record(&bytes, PLACE).unwrap_err().intact);
    }
    let keys = |first: u64| (first..first + 8).flat_map(u64::to_le_bytes).collect::<Vec<u8>>();
    let inline = keys(1);
    // Eight rows, inline, and a page that would have gone to the file: that is large.
    let file = FileChange { end: 4096, len: 4160, first_chunk: 0, sums: vec![7], inline: &inline };
    let (files, first_keys) = (vec![file], vec![1]);
    let rows = Rows { first_row: 512, rows: 8, last_key: 8, form: Form::Large, files, first_keys };
    refused(&rows, |bytes| bytes[128] = 1);
    // Of a whole page inline a large commit leaves nothing.
    let (before, files) = (raw_files(0..0), raw_files(0..600));
    refused(&small(&files, &before, 0, 600), |bytes| bytes[128] = 2);
    // No key is here to compare with: the first one of a chunk is.
    let file = FileChange { end: 4096, len: 4096, first_chunk: 0, sums: vec![7], inline: &[] };
    let (files, first_keys) = (vec![file], vec![6]);
    let rows = Rows { first_row: 0, rows: 512, last_key: 8, form: Form::Large, files, first_keys };
    refused(&rows, |bytes| put(bytes, 120, &5_u64.to_le_bytes()));
}

#[test]
fn a_field_of_a_manifest_is_refused_unless_it_is_free() {
    let names = |manifest: &Manifest| {
        let bytes = manifest.encode();
        let mut fields = Vec::new();
        Manifest::decode_traced(&bytes, manifest.generation, Some(&mut fields)).unwrap();
        free_fields(&bytes, 0, &fields, |bytes| {
            resign_manifest(bytes, manifest.generation);
            read_manifest(bytes, manifest.generation).is_ok()
        })
    };
    assert_eq!(names(&first_manifest()), ["key unit", "kind", "name", "nulls", "pages of each log file"]);
    let expected = [
        "checksum of its sums",
        "epoch",
        "first key",
        "first keys of chunks",
        "key unit",
        "kind",
        "last key",
        "last record, checksum",
        "last record, page",
        "length",
        "name",
        "next sequence",
        "pages of each log file",
        "position, page",
        "segment",
        "slot",
        "sums of chunks",
        "value",
    ];
    assert_eq!(names(&full_manifest()), expected);
}

fn refuse_full(check: impl FnOnce(&Refusal<'_>, &dyn Fn(&str, usize) -> usize)) {
    let bytes = full_manifest().encode();
    let mut fields = Vec::new();
    Manifest::decode_traced(&bytes, 9, Some(&mut fields)).unwrap();
    let decode = |bytes: &mut Vec<u8>| {
        resign_manifest(bytes, 9);
        read_manifest(bytes, 9).err()
    };
    let find = |name: &str, index: usize| {
        let mut found = fields.iter().filter(|field| field.name == name);
        found.nth(index).map_or_else(|| panic!("there is no {name}"), |field| field.offset as usize)
    };
    check(&Refusal { bytes: &bytes, decode: &decode }, &find);
}

#[test]
fn a_sheet_whose_header_or_padding_is_wrong_is_refused() {
    refuse_full(|refuse, _| {
        for at in (10..16).chain(56..64) {
            refuse.of_u8("reserved", at, &[1]);
        }
        refuse.of_u8("padding", refuse.bytes.len() - 1, &[1]);
        refuse.of("version", |bytes| put(bytes, 8, &[0, 0]));
        let content = number(&refuse.bytes[40..48]);
        refuse.of_u64("content", 40, &[content - 1, content + 1, content + 8]);
        refuse.of_u8("padding", 64 + content as usize, &[1]);
    });
    // A length that is not the file's is told before the checksum.
    for content in [0, 4096, u64::MAX - 63, u64::MAX - 64, u64::MAX] {
        let mut bytes = full_manifest().encode();
        put(&mut bytes, 40, &content.to_le_bytes());
        resign_manifest(&mut bytes, 9);
        assert!(Manifest::decode(&bytes, 9).is_err(), "{content}");
    }
}

#[test]
fn a_manifest_whose_sections_are_out_of_order_is_refused() {
    refuse_full(|refuse, find| {
        for section in 0..5 {
            let at = find("section", section);
            refuse.of_u8("tag", at, &[0, 6, 7, 255]);
            refuse.of_u8("tag that stood before", at, &[section as u8]);
            refuse.of_u8("tag", at + 1, &[1]);
            refuse.of_u8("reserved", at + 2, &[1]);
            refuse.of_u32("length", at + 4, &[0, 1]);
            refuse.of_u32("length", at + 4, &MANY);
        }
        let (schema, log, finished, active, note) = (
            find("section", 0),
            find("section", 1),
            find("section", 2),
            find("section", 3),
            find("section", 4),
        );
        let end = 64 + number(&refuse.bytes[40..48]) as usize;
        let part = |from: usize, to: usize| refuse.bytes[from..to].to_vec();
        let (a, b, c) = (part(schema, log), part(log, finished), part(finished, active));
        let (d, e) = (part(active, note), part(note, end));
        let orders: [(&str, Vec<&[u8]>); 7] = [
            ("nothing", vec![]),
            ("no log", vec![&a]),
            ("no schema", vec![&b, &d]),
            ("swapped", vec![&b, &a, &c, &d, &e]),
            ("twice", vec![&a, &b, &c, &c, &d, &e]),
            ("finished segments without an active one", vec![&a, &b, &c, &e]),
            ("a log without an active segment", vec![&a, &b]),
        ];
        for (what, sections) in orders {
            refuse.of(what, |bytes| *bytes = sheet_of(&sections.concat()));
        }
    });
}

fn sheet_of(content: &[u8]) -> Vec<u8> {
    let mut sheet = full_manifest().encode()[..64].to_vec();
    put(&mut sheet, 40, &(content.len() as u64).to_le_bytes());
    sheet.extend_from_slice(content);
    sheet.resize(sheet.len().next_multiple_of(PAGE), 0);
    sheet
}

#[test]
fn a_schema_that_no_store_can_have_is_refused() {
    refuse_full(|refuse, find| {
        refuse.of_u8("key unit", find("key unit", 0), &[0, 6, 255]);
        refuse.of_u8("reserved", find("key unit", 0) + 1, &[1]);
        refuse.of_u32("columns", find("columns", 0), &[0, 1, 3, 4097]);
        refuse.of_u32("columns", find("columns", 0), &MANY);
        refuse.of_u8("kind", find("kind", 0), &[0, 7, 10, 255]);
        refuse.of_u8("nulls", find("nulls", 0), &[1, 2, 255]);
        refuse.of("name", |bytes| put(bytes, find("bytes of the name", 0), &[0, 0]));
        refuse.of("name", |bytes| put(bytes, find("bytes of the name", 0), &[255, 255]));
        refuse.of_u8("not UTF-8", find("name", 0), &[0, 0xFF, 0xC0]);
        refuse.of("the same name twice", |bytes| put(bytes, find("name", 1), b"price"));
        refuse.of_u32("pairs", find("pairs of metadata", 0), &[0, 2]);
        refuse.of_u32("pairs", find("pairs of metadata", 0), &MANY);
        refuse.of_u32("bytes of a pair", find("bytes of the name", 2), &MANY);
        refuse.of_u32("bytes of a pair", find("bytes of the value", 0), &MANY);
        refuse.of_u8("not UTF-8", find("value", 0), &[0xFF]);
    });
}

#[test]
fn metadata_beyond_its_limit_is_refused_without_a_long_wait() {
    let pairs = 3_000_000_u32;
    let mut schema = vec![1, 0, 0, 0, 0, 0, 0, 0];
    schema.extend_from_slice(&pairs.to_le_bytes());
    schema.resize(schema.len() + 8 * pairs as usize, 0);
    let mut content = [1_u16.to_le_bytes(), [0; 2]].concat();
    content.extend_from_slice(&(schema.len() as u32).to_le_bytes());
    content.extend_from_slice(&schema);
    content.resize(content.len().next_multiple_of(8), 0);
    let mut bytes = sheet_of(&content);
    resign_manifest(&mut bytes, 9);
    assert!(Manifest::decode(&bytes, 9).unwrap_err().intact);
}

#[test]
fn a_log_position_that_cannot_be_is_refused() {
    refuse_full(|refuse, find| {
        refuse.of_u32("pages", find("pages of each log file", 0), &[0, 11, 15, (1 << 20) + 1, u32::MAX]);
        refuse.of_u8("begun", find("log begun", 0), &[0, 2, 255]);
        refuse.of_u8("file", find("position, file", 0), &[0, 2, 255]);
        refuse.of_u8("file", find("last record, file", 0), &[0, 2, 255]);
        refuse.of("a third file", |bytes| put(bytes, find("position, file", 0), &[2, 2]));
        refuse.of_u8("reserved", find("last record, file", 0) + 1, &[1]);
        refuse.of_u32("page", find("position, page", 0), &[0, 9, 4097, u32::MAX]);
        refuse.of_u32("page", find("last record, page", 0), &[12, 13, u32::MAX]);
        refuse.of_u64("sequence", find("next sequence", 0), &[0, 1, 1 << 63, u64::MAX]);
        refuse.of_u64("epoch", find("epoch", 0), &[0, 1 << 63, u64::MAX]);
        refuse.of_u8("reserved", find("epoch", 0) + 8, &[1]);
    });
}

#[test]
fn finished_segments_that_do_not_follow_each_other_are_refused() {
    refuse_full(|refuse, find| {
        refuse.of_u32("finished segments", find("finished segments", 0), &[0, 1, 3]);
        refuse.of_u32("finished segments", find("finished segments", 0), &MANY);
        refuse.of_u64("segment", find("segment", 0), &[4, 5, 1 << 63, u64::MAX]);
        refuse.of_u64("segment", find("segment", 1), &[0, 3, 5]);
        refuse.of_u32("slot of another", find("slot", 1), &[0, 2]);
        refuse.of_u32("slot", find("slot", 1), &[1 << 31, u32::MAX]);
        refuse.of_u64("first row", find("first row", 0), &[1, 1 << 63, u64::MAX]);
        refuse.of_u64("first row", find("first row", 1), &[0, 8999, 9001]);
        refuse.of_u64("rows", find("rows", 0), &[0, 8999, 1 << 61, (1 << 63) - 1, u64::MAX]);
        refuse.of_u64("first key above the last", find("first key", 0), &[u64::MAX]);
        refuse.of_u64("last key below the first", find("last key", 0), &[0]);
        refuse.of_u64("keys that go back", find("first key", 1), &[0]);
        refuse.of_u32("files", find("files", 0), &[0, 4, 6]);
        refuse.of_u32("files", find("files", 0), &MANY);
        for file in [0, 1, 3, 4] {
            refuse.of_u64("length", find("length", file), &[0, 71_992, 72_001, 1 << 44]);
            refuse.of_u64("length", find("length", file), &FAR);
        }
        refuse.of("no rows", |bytes| {
            put(bytes, find("rows", 0), &[0; 8]);
            put(bytes, find("length", 0), &[0; 40]);
            put(bytes, find("first row", 1), &[0; 8]);
            put(bytes, find("first row", 2), &600_u64.to_le_bytes());
        });
        // That of a text column is free up to the limit.
        refuse.of_u64("length", find("length", 2), &[1 << 44, 1 << 48]);
    });
}

#[test]
fn rows_near_the_limit_are_refused_without_overflow() {
    let mut bytes = full_manifest().encode();
    let mut fields = Vec::new();
    Manifest::decode_traced(&bytes, 9, Some(&mut fields)).unwrap();
    let firsts: Vec<usize> =
        fields.iter().filter(|field| field.name == "first row").map(|field| field.offset as usize).collect();
    for at in firsts {
        put(&mut bytes, at, &((1_u64 << 63) - 1).to_le_bytes());
    }
    resign_manifest(&mut bytes, 9);
    assert!(Manifest::decode(&bytes, 9).unwrap_err().intact);
}

#[test]
fn an_empty_active_segment_whose_last_key_goes_back_is_refused() {
    let mut manifest = full_manifest();
    let (files, first_keys) = (vec![ActiveFile::default(); 5], Vec::new());
    let last_key = key(9599);
    manifest.active = Some(Active { rows: 0, last_key, files, first_keys, ..active(9600, 1) });
    let mut bytes = manifest.encode();
    let mut fields = Vec::new();
    Manifest::decode_traced(&bytes, 9, Some(&mut fields)).unwrap();
    let last = fields.iter().rfind(|field| field.name == "last key").unwrap();
    put(&mut bytes, last.offset as usize, &(last_key - 1).to_le_bytes());
    resign_manifest(&mut bytes, 9);
    assert!(read_manifest(&bytes, 9).unwrap_err().intact);
}

#[test]
fn a_manifest_whose_generation_is_zero_is_refused() {
    let mut bytes = full_manifest().encode();
    for generation in [0, 1 << 63, u64::MAX] {
        put(&mut bytes, 32, &generation.to_le_bytes());
        resign_manifest(&mut bytes, generation);
        assert!(Manifest::decode(&bytes, generation).unwrap_err().intact, "{generation}");
    }
}

#[test]
fn a_tail_whose_first_key_is_below_the_finished_ones_is_refused() {
    let mut manifest = full_manifest();
    manifest.active = Some(active(9600, 100));
    let mut bytes = manifest.encode();
    assert!(read_manifest(&bytes, 9).is_ok());
    let mut fields = Vec::new();
    Manifest::decode_traced(&bytes, 9, Some(&mut fields)).unwrap();
    let tail = fields.iter().find(|field| field.name == "tail").unwrap();
    put(&mut bytes, tail.offset as usize, &(key(9599) - 1).to_le_bytes());
    resign_manifest(&mut bytes, 9);
    assert!(read_manifest(&bytes, 9).unwrap_err().intact);
}

#[test]
fn an_active_segment_that_contradicts_itself_is_refused() {
    refuse_full(|refuse, find| {
        refuse.of_u64("segment", find("segment", 2), &[0, 4, 1 << 63, u64::MAX]);
        refuse.of_u32("slot", find("slot", 3), &[0, 1, 1 << 31, u32::MAX]);
        refuse.of_u32("files", find("files", 2), &[0, 4, 6]);
        refuse.of_u32("files", find("files", 2), &MANY);
        refuse.of_u64("first row", find("first row", 2), &[0, 9599, 9601, 1 << 63, u64::MAX]);
        refuse.of_u64("rows", find("rows", 2), &[0, 1029, 1031, 1 << 61, (1 << 63) - 1, u64::MAX]);
        refuse.of_u64(
            "last key",
            find("last key", 2),
            &[0, key(9599), key(10_629) - 1, key(10_629) + 1, u64::MAX],
        );
        refuse.of_u64("a key in the tail that goes back", find("tail", 0), &[0, u64::MAX]);
        for file in 0..5 {
            let at = find("bytes in the file", file);
            let end = number(&refuse.bytes[at..at + 8]);
            refuse.of_u64("bytes in the file", at, &[end + 1, end + 4096, 1 << 43, 1 << 44]);
            refuse.of_u64("bytes in the file", at, &FAR);
            refuse.of_u64("length", at + 8, &[end + 4096, 1 << 44]);
            refuse.of_u64("length", at + 8, &FAR);
        }
        // The text column's file: its last page, and then some, in the tail; and a D within a page.
        let (section, at, end) = (find("section", 3), find("bytes in the file", 2), find("tail", 2));
        assert_eq!(number(&refuse.bytes[at + 8..end]), 2748);
        refuse.of("a tail of more than a page", |bytes| {
            put(bytes, at + 8, &(2748_u64 + 4096).to_le_bytes());
            put(
                bytes,
                section + 4,
                &(number(&refuse.bytes[section + 4..section + 8]) as u32 + 4096).to_le_bytes(),
            );
            let content = 64 + number(&bytes[40..48]) as usize;
            let tail = vec![0x58; 4096];
            let longer = [&bytes[64..end], &tail, &bytes[end..content]].concat();
            *bytes = sheet_of(&longer);
        });
        refuse.of("a D that is no whole pages", |bytes| {
            put(bytes, at, &8_u64.to_le_bytes());
            put(bytes, at + 8, &(8_u64 + 2748 - 4).to_le_bytes());
        });
        refuse.of_u64("length below", find("bytes in the file", 0) + 8, &[0, 8191]);
        let first = find("first keys of chunks", 0);
        refuse.of_u64("a first key below the finished ones", first, &[0, key(9599) - 1]);
        refuse.of_u64("a first key above the last", first, &[u64::MAX]);
    });
}

#[test]
fn sums_that_contradict_themselves_are_refused() {
    let bytes = sums_of_9000_rows().encode(HOME, &STORE);
    let decode = |bytes: &mut Vec<u8>| {
        resign_sums(bytes, HOME);
        read_sums(bytes, HOME).err()
    };
    let refuse = Refusal { bytes: &bytes, decode: &decode };
    refuse.of_u32("files", 64, &[0, 1, 4, 6]);
    refuse.of_u32("files", 64, &MANY);
    refuse.of_u32("chunks", 68, &[0, 1, 3]);
    refuse.of_u32("chunks", 68, &MANY);
    // Five files of two, two, one, two and one chunks; then two first keys.
    refuse.of("first keys that go back", |bytes| put(bytes, 64 + 4 + 5 * 4 + 8 * 4, &u64::MAX.to_le_bytes()));
    let content = number(&bytes[40..48]);
    assert_eq!(content, 4 + 5 * 4 + 8 * 4 + 2 * 8);
    refuse.of_u64("content", 40, &[content - 8, content + 8, 0, 4]);
}
