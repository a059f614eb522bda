//! Fixed-width values, end to end, little-endian.
//!
//! Whole slices at a time, so that a batch costs no more than its copy.
//!
//! Not here: nulls and offsets, which are raw values of their own.

use byteorder::{ByteOrder, LittleEndian};

/// A type that stands in a raw file.
pub(crate) trait Raw: Copy {
    /// Bytes of one value.
    const WIDTH: usize;

    /// Appends all values in `bytes`, a whole number of them, to `values`.
    fn read(bytes: &[u8], values: &mut Vec<Self>);

    /// The values in `bytes` where they are, if memory holds values as files do and these lie as values must.
    fn view(bytes: &[u8]) -> Option<&[Self]>;

    /// Appends `values` to `bytes`.
    fn append(values: &[Self], bytes: &mut Vec<u8>);
}

macro_rules! raw {
    ($($type:ty, $width:literal, $write:ident;)*) => {$(
        impl Raw for $type {
            const WIDTH: usize = $width;

            fn append(values: &[Self], bytes: &mut Vec<u8>) {
                if cfg!(target_endian = "little") {
                    // In memory as on disk: one copy, and no pass to make room for it.
                    return bytes.extend_from_slice(bytemuck::cast_slice(values));
                }
                let start = bytes.len();
                bytes.resize(start + values.len() * Self::WIDTH, 0);
                LittleEndian::$write(values, &mut bytes[start..]);
            }

            fn view(bytes: &[u8]) -> Option<&[Self]> {
                bytemuck::try_cast_slice(bytes).ok().filter(|_| cfg!(target_endian = "little"))
            }

            fn read(bytes: &[u8], values: &mut Vec<Self>) {
                // The length is known beforehand: one copy, and no pass to make room for it.
                let all = bytes.as_chunks::<$width>().0.iter();
                values.extend(all.map(|value| <$type>::from_le_bytes(*value)));
            }
        }
    )*};
}

raw! {
    u64, 8, write_u64_into;
    i64, 8, write_i64_into;
    f64, 8, write_f64_into;
    u32, 4, write_u32_into;
    i32, 4, write_i32_into;
    f32, 4, write_f32_into;
}

/// A byte a value, 0 or 1.
impl Raw for bool {
    const WIDTH: usize = 1;

    fn view(_: &[u8]) -> Option<&[Self]> {
        None
    }

    fn append(values: &[Self], bytes: &mut Vec<u8>) {
        bytes.extend(values.iter().copied().map(u8::from));
    }

    fn read(bytes: &[u8], values: &mut Vec<Self>) {
        values.extend(bytes.iter().map(|byte| *byte != 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode<T: Raw>(bytes: &[u8]) -> Vec<T> {
        let mut values = Vec::new();
        T::read(bytes, &mut values);
        values
    }

    #[test]
    fn every_bit_comes_back() {
        let floats = [0.0, -0.0, f64::NAN, f64::from_bits(0x7FF8_0000_0000_BEEF), f64::INFINITY, f64::MIN];
        let mut bytes = vec![9];
        f64::append(&floats, &mut bytes);
        let back: Vec<u64> = decode(&bytes[1..]).into_iter().map(f64::to_bits).collect();
        assert_eq!(back, floats.map(f64::to_bits));
        let mut bytes = Vec::new();
        bool::append(&[true, false, true], &mut bytes);
        assert_eq!(bytes, [1, 0, 1]);
        assert_eq!(decode::<bool>(&bytes), [true, false, true]);
        i32::append(&[i32::MIN, -1], &mut bytes);
        assert_eq!(decode::<i32>(&bytes[3..]), [i32::MIN, -1]);
    }
}
