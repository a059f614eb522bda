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
    ($($type:ident: $variant:ident;)*) => {
        /// How many values a vector has room for; none where they are of any length.
        fn capacity(data: &Data) -> usize {
            match data {
                $(Data::$variant(values) => values.capacity(),)*
                Data::Bytes { .. } | Data::Text { .. } => 0,
            }
        }

        $(
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
        )*
    };
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
        match self.find(count) {
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
        let mut values = self.find(count).unwrap_or_default();
        values.clear();
        values.reserve_exact(count);
        values
    }

    /// One that is about as long: whoever keeps a few values must not keep the memory of many.
    fn find<T: Plain>(&self, count: usize) -> Option<Vec<T>> {
        let mut all = self.0.as_ref()?.lock();
        let fits = |data: &Data| T::is_in(data) && (count..=2 * count).contains(&capacity(data));
        if let Some(place) = all.iter().position(fits) {
            return T::vector(all.swap_remove(place));
        }
        // A shorter one gives its place to the one that is made now.
        let is_shorter = |data: &Data| T::is_in(data) && capacity(data) < count;
        if let Some(place) = all.iter().position(is_shorter) {
            all.swap_remove(place);
        }
        None
    }

    /// Keeps these vectors, as far as there is room.
    pub(crate) fn take_back(&self, vectors: impl Iterator<Item = Data>) {
        let Some(kept) = &self.0 else { return };
        let mut all = kept.lock();
        let room = kept.count_max.saturating_sub(all.len());
        all.extend(vectors.filter(|data| capacity(data) > 0).take(room));
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

    fn kept(spare: &Spare) -> usize {
        spare.0.as_ref().map_or(0, |vectors| vectors.lock().len())
    }

    #[test]
    fn a_vector_comes_back_for_its_own_kind_only_and_no_more_than_a_batch_has() {
        let spare = Spare::new(2);
        let mut floats: Vec<f64> = spare.take_empty(1000);
        floats.push(1.0);
        let memory = floats.as_ptr();
        let others = [Data::U64(vec![7]), Data::F64(vec![2.0])].into_iter();
        let nothing = [Data::U64(Vec::new()), Data::Bytes { offsets: vec![0], data: vec![1] }].into_iter();
        spare.home().take_back(nothing.chain([Data::F64(floats)]).chain(others));
        assert_eq!(kept(&spare), 2, "a third one is too many");
        assert_eq!(spare.take::<i64>(1), [0]);
        let again: Vec<f64> = spare.take(600);
        assert_eq!((again.len(), again.as_ptr()), (600, memory));
        assert_eq!(spare.take_empty::<u64>(1), Vec::<u64>::new());
        assert_eq!(kept(&spare), 0);
        let home = spare.home();
        drop(spare);
        home.take_back(std::iter::once(Data::U64(vec![1])));
    }

    #[test]
    fn few_values_are_not_given_the_memory_of_many_nor_do_few_stand_in_the_way_of_many() {
        let spare = Spare::new(1);
        spare.take_back(std::iter::once(Data::F64(vec![1.0; 1000])));
        assert!(spare.take::<f64>(3).capacity() < 1000);
        assert_eq!(kept(&spare), 1, "the long one stays");
        assert!(spare.take::<f64>(1000).capacity() < 2000);
        spare.take_back(std::iter::once(Data::F64(vec![1.0; 3])));
        let long: Vec<f64> = spare.take(1000);
        assert_eq!(kept(&spare), 0, "the short one went");
        let memory = long.as_ptr();
        spare.take_back(std::iter::once(Data::F64(long)));
        let again: Vec<f64> = spare.take(1000);
        assert_eq!(again.as_ptr(), memory);
    }
}
