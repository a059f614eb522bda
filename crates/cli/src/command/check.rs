//! `tidelog check`: every byte that an answer depends on.
//!
//! Not here: verifying (the library).

use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};
use tidelog::disk::Disk;
use tidelog::{Checked, Options, check_on};

use crate::disk::OnDisk;
use crate::exit::{Code, Fault};

/// Verify every byte that an answer depends on; name every damaged place; write nothing
///
/// A writer may be at work meanwhile. Exit code 1 if there is damage.
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog check /data/ticks")]
pub(crate) struct Check {
    /// The store
    dir: PathBuf,
    /// Print one object with stable names
    #[arg(long)]
    json: bool,
}

impl OnDisk for Check {
    async fn run<D: Disk>(self, disk: D) -> Result<()> {
        let checked = check_on(disk, &self.dir, Options::default()).await?;
        let text = if self.json { format!("{}\n", as_json(&checked)) } else { self.as_text(&checked) };
        stdout().write_all(text.as_bytes())?;
        let places = checked.damage.len() as u64 + checked.damage_omitted;
        if places == 0 {
            return Ok(());
        }
        let places = if places == 1 { "1 place".to_owned() } else { format!("{places} places") };
        let what = format!("{} is damaged in {places}; restore a copy, or salvage", self.dir.display());
        Err(Fault::new(Code::CheckFailed, what).into())
    }
}

impl Check {
    fn as_text(&self, checked: &Checked) -> String {
        let mut text = String::new();
        for damage in &checked.damage {
            text += &format!("damage: {damage}\n");
        }
        if checked.damage_omitted > 0 {
            text += &format!("damage: {} more places\n", checked.damage_omitted);
        }
        for notice in &checked.notices {
            text += &format!("notice: {notice}\n");
        }
        let Checked { rows, segments, bytes, .. } = checked;
        let verdict = if checked.is_intact() { "intact" } else { "damaged" };
        let dir = self.dir.display();
        let segments = if *segments == 1 { "1 segment".to_owned() } else { format!("{segments} segments") };
        text + &format!("{dir}: {rows} rows in {segments}, {bytes} bytes of raw files verified: {verdict}\n")
    }
}

fn as_json(checked: &Checked) -> Value {
    let damage = checked.damage.iter().map(|damage| {
        json!({
            "path": damage.path.to_string_lossy(),
            "offset": damage.offset,
            "bytes": damage.bytes,
            "column": damage.column,
            "rows": damage.rows.as_ref().map(|rows| [rows.start, rows.end]),
            "what": damage.what,
        })
    });
    let notices = checked.notices.iter().map(|notice| {
        json!({ "path": notice.path.to_string_lossy(), "offset": notice.offset, "what": notice.what })
    });
    json!({
        "intact": checked.is_intact(),
        "rows": checked.rows,
        "segments": checked.segments,
        "bytes": checked.bytes,
        "damage": damage.collect::<Vec<_>>(),
        "damage_omitted": checked.damage_omitted,
        "notices": notices.collect::<Vec<_>>(),
    })
}
