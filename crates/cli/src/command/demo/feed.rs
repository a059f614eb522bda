//! Trades that look like some, the same at every run.
//!
//! Not here: what becomes of them (`demo`).

use tidelog::{Column, KeyUnit, Kind, Result, Schema, Values};

const VENUES: [&str; 4] = ["north", "south", "east", "west"];

/// What a trade consists of, besides its time.
pub(super) fn schema() -> Result<Schema> {
    let columns =
        [Column::new("price", Kind::F64), Column::new("size", Kind::U32), Column::new("venue", Kind::Text)];
    Ok(Schema::new(columns)?.key_unit(KeyUnit::Nanoseconds))
}

/// Makes trades, front to back.
pub(super) struct Feed {
    dice: u64,
    key: u64,
    cents: i32,
    pub(super) rows: u64,
}

/// Some trades, column by column.
#[derive(Default)]
pub(super) struct Trades {
    pub(super) keys: Vec<u64>,
    pub(super) prices: Vec<f64>,
    pub(super) sizes: Vec<u32>,
    pub(super) venues: String,
    ends: Vec<u64>,
}

impl Trades {
    /// As a writer takes them.
    pub(super) fn values(&self) -> [Values<'_>; 3] {
        [
            Values::F64(&self.prices),
            Values::U32(&self.sizes),
            Values::Text { data: &self.venues, ends: &self.ends },
        ]
    }
}

impl Feed {
    /// From the beginning.
    pub(super) fn new() -> Self {
        Self { dice: 1, key: 1_700_000_000_000_000_000, cents: 10_000, rows: 0 }
    }

    /// Below `bound`.
    fn roll(&mut self, bound: u32) -> u32 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.dice >> 33).unwrap_or(0) % bound
    }

    /// The next ones.
    pub(super) fn next(&mut self, count: u64) -> Trades {
        let mut trades = Trades::default();
        for _ in 0..count {
            self.key += u64::from(self.roll(2_000_000));
            self.cents = (self.cents + self.roll(5).cast_signed() - 2).max(1);
            trades.keys.push(self.key);
            trades.prices.push(f64::from(self.cents) / 100.0);
            trades.sizes.push(100 * (1 + self.roll(50)));
            trades.venues.push_str(VENUES[self.roll(4) as usize]);
            trades.ends.push(trades.venues.len() as u64);
        }
        self.rows += count;
        trades
    }
}
