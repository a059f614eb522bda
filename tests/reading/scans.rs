//! Scans: any range, order, columns, batches; snapshots that stay.

use crate::world::{World, all, all_kinds, calm_disk, small_options};

#[test]
fn a_scan_gives_back_every_row_of_every_kind() {
    for seed in 0..6 {
        let mut world = World::new(calm_disk(seed), all_kinds(), small_options());
        world.fill(1500);
        for reopened in [false, true] {
            if reopened {
                world = world.reopen();
            }
            let (store, reader) = (world.store(), world.store().reader());
            let rows = world.run(all(&reader, &store.snapshot())).unwrap();
            assert_eq!(rows.len(), world.rows.len());
            for (found, expected) in rows.iter().zip(&world.rows) {
                assert_eq!(found, expected, "seed {seed}");
            }
        }
    }
}
