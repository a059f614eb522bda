//! What the codecs know of a kind: its values as *bits* of up to 64, which they work on.
//!
//! Integers are in their own order as bits (signed ones by turning their highest bit), floats are as IEEE 754
//! has them, a `bool` is 0 or 1.
//!
//! Not here: `bytes` and `text`, which have no fixed width.

use std::borrow::Cow;

use crate::schema::Kind;

/// A type of fixed width whose values are encoded in blocks.
pub(crate) trait Fixed: Copy {
    const KIND: Kind;
    /// What stands for a null.
    const ZERO: Self;

    fn bits(self) -> u64;

    /// The bits of all values: they themselves, where they are that already.
    fn all_bits(values: &[Self]) -> Cow<'_, [u64]> {
        Cow::Owned(values.iter().map(|value| value.bits()).collect())
    }

    /// From bits up to [`bits_max`] of this kind.
    fn from_bits(bits: u64) -> Self;

    /// The values where they are `f64`.
    fn floats(_: &mut [Self]) -> Option<&mut [f64]> {
        None
    }
}

/// The highest bits that a value of `kind` has.
pub(crate) fn bits_max(kind: Kind) -> u64 {
    match kind.width() {
        Some(1) => 1,
        Some(4) => u32::MAX.into(),
        _ => u64::MAX,
    }
}

/// The two kinds of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Float {
    F32,
    F64,
}

impl Float {
    pub(super) fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::F32 => Some(Self::F32),
            Kind::F64 => Some(Self::F64),
            _ => None,
        }
    }

    /// Bytes of one.
    pub(super) fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    pub(super) fn width_bits(self) -> u32 {
        match self {
            Self::F32 => 32,
            Self::F64 => 64,
        }
    }

    /// The bits of `value`, which an `f32` is rounded to.
    pub(super) fn bits(self, value: f64) -> u64 {
        match self {
            Self::F32 => <f32 as Floating>::bits(value),
            Self::F64 => <f64 as Floating>::bits(value),
        }
    }
}

/// A float, as the codecs compute with it.
pub(super) trait Floating {
    fn value(bits: u64) -> f64;

    fn bits(value: f64) -> u64;
}

impl Floating for f64 {
    #[inline(always)]
    fn value(bits: u64) -> f64 {
        f64::from_bits(bits)
    }

    #[inline(always)]
    fn bits(value: f64) -> u64 {
        value.to_bits()
    }
}

impl Floating for f32 {
    #[inline(always)]
    fn value(bits: u64) -> f64 {
        f32::from_bits(low(bits)).into()
    }

    /// Rounded.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
    fn bits(value: f64) -> u64 {
        (value as f32).to_bits().into()
    }
}

/// What makes signed integers follow each other as unsigned ones do.
const SIGN_64: u64 = 1 << 63;
const SIGN_32: u32 = 1 << 31;

macro_rules! fixed {
    ($($type:ident, $kind:ident, $zero:expr, |$value:ident| $to:expr, |$bits:ident| $from:expr $(, $all:expr $(, $floats:expr)?)?;)*) => {$(
        impl Fixed for $type {
            const KIND: Kind = Kind::$kind;
            const ZERO: Self = $zero;

            fn bits(self) -> u64 {
                let $value = self;
                $to
            }

            $(fn all_bits(values: &[Self]) -> Cow<'_, [u64]> {
                Cow::Borrowed($all(values))
            })?

            fn from_bits($bits: u64) -> Self {
                $from
            }

            $($(fn floats(values: &mut [Self]) -> Option<&mut [f64]> {
                $floats(values)
            })?)?
        }
    )*};
}

fixed! {
    u64, U64, 0, |value| value, |bits| bits, std::convert::identity;
    i64, I64, 0, |value| value.cast_unsigned() ^ SIGN_64, |bits| (bits ^ SIGN_64).cast_signed();
    f64, F64, 0.0, |value| value.to_bits(), |bits| f64::from_bits(bits), bytemuck::cast_slice, Some;
    u32, U32, 0, |value| value.into(), |bits| low(bits);
    i32, I32, 0, |value| (value.cast_unsigned() ^ SIGN_32).into(), |bits| (low(bits) ^ SIGN_32).cast_signed();
    f32, F32, 0.0, |value| value.to_bits().into(), |bits| f32::from_bits(low(bits));
    bool, Bool, false, |value| value.into(), |bits| bits != 0;
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the bits of these kinds are 32, which is checked before"
)]
fn low(bits: u64) -> u32 {
    bits as u32
}
