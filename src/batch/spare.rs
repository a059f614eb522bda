//! Vectors that nobody needs any more, for the next batches of the same scan.
//!
//! To an allocator a vector of a batch is large: it gives the memory back to the system, which must find and clear every
//! page of the next one. That takes several times as long as decoding.
//!
//! Not here: values of any length, whose vectors are as long as they happen to be.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Data;
use crate::codec::fixed::Fixed;

/// The spare vectors of a scan: as many as one of its batches has. Whoever decodes once has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spare(Option<Arc<Vectors>>);

#[derive(Debug)]
struct Vectors {
    all: Mutex<Vec<Data>>,
    count_max: usize,
}

impl Vectors {
    fn lock(&self) -> MutexGuard<'_, Vec<Data>> {
        // Every change is whole: a panic elsewhere leaves nothing half-done.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the vectors of a batch go when it is dropped, if that is still there. All of them are equal: a batch is its rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Home(Weak<Vectors>);

impl PartialEq for Home {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What stands in vectors.
pub(crate) trait Plain: Sized {
    fn is_in(data: &Data) -> bool;

    fn vector(data: Data) -> Option<Vec<Self>>;
}

macro_rules! plain {
    ($($type:ident: $variant:ident;)*) => {$(
        impl Plain for $type {
            fn is_in(data: &Data) -> bool {
                matches!(data, Data::$variant(_))
            }

            fn vector(data: Data) -> Option<Vec<Self>> {
                match data {
                    Data::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    )*};
}

plain! {
    u64: U64;
    i64: I64;
    f64: F64;
    u32: U32;
    i32: I32;
    f32: F32;
    bool: Bool;
}

impl Spare {
    /// For batches of so many vectors.
    pub(crate) fn new(count_max: usize) -> Self {
        Self(Some(Arc::new(Vectors { all: Mutex::default(), count_max })))
    }

    /// A vector of so many values, whatever they are.
    pub(crate) fn take<T: Fixed + Plain>(&self, count: usize) -> Vec<T> {
        match self.find() {
            Some(mut values) => {
                values.resize(count, T::ZERO);
                values
            }
            // Unlike making it longer, this obtains zeros from the system where they are to be had.
            None => vec![T::ZERO; count],
        }
    }

    /// An empty vector with room for so many values.
    pub(crate) fn take_empty<T: Plain>(&self, count: usize) -> Vec<T> {
        let mut values = self.find().unwrap_or_default();
        values.clear();
        values.reserve_exact(count);
        values
    }

    fn find<T: Plain>(&self) -> Option<Vec<T>> {
        let mut all = self.0.as_ref()?.lock();
        let place = all.iter().position(T::is_in)?;
        T::vector(all.swap_remove(place))
    }

    /// Keeps these vectors, as far as there is room.
    pub(crate) fn take_back(&self, vectors: impl Iterator<Item = Data>) {
        let Some(home) = &self.0 else { return };
        let mut all = home.lock();
        let room = home.count_max.saturating_sub(all.len());
        let fixed = vectors.filter(|data| !matches!(data, Data::Bytes { .. } | Data::Text { .. }));
        all.extend(fixed.take(room));
    }

    pub(crate) fn home(&self) -> Home {
        Home(self.0.as_ref().map_or_else(Weak::new, Arc::downgrade))
    }
}

impl Home {
    /// Gives vectors back.
    pub(crate) fn take_back(&self, vectors: impl Iterator<Item = Data>) {
        Spare(self.0.upgrade()).take_back(vectors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_comes_back_for_its_own_kind_only_and_no_more_than_a_batch_has() {
        let spare = Spare::new(2);
        let mut floats: Vec<f64> = spare.take_empty(1000);
        floats.push(1.0);
        let memory = floats.as_ptr();
        let others = [Data::U64(vec![7]), Data::F64(vec![2.0])].into_iter();
        spare.home().take_back(std::iter::once(Data::F64(floats)).chain(others));
        let kept = |spare: &Spare| spare.0.as_ref().map(|vectors| vectors.lock().len());
        assert_eq!(kept(&spare), Some(2), "a third one is too many");
        assert_eq!(spare.take::<i64>(1), [0]);
        let again: Vec<f64> = spare.take(10);
        assert_eq!((again.len(), again.as_ptr()), (10, memory));
        assert_eq!(spare.take_empty::<u64>(1), Vec::<u64>::new());
        assert_eq!(kept(&spare), Some(0));
        let home = spare.home();
        drop(spare);
        home.take_back(std::iter::once(Data::U64(vec![1])));
    }
}
