//! Loops compiled once more for wider registers, which are used where the machine has them.
//!
//! A portable build has those of every 64-bit x86: 16 bytes. Nearly every machine has 32, and a loop over a vector takes
//! less time with them. `fearless_simd` compiles what it is given for them and asks the machine, without `unsafe` of
//! ours. Results are the same bits: the instructions differ, not the operations.
//!
//! Not here: the loops.

/// Makes functions of loops: each one is compiled apart from its callers, as the compiler gives vector instructions up
/// within larger functions, for any machine and for those with AVX2. Worth it for a hundred numbers and more.
macro_rules! widest {
    ($($(#[$attribute:meta])* $visibility:vis fn $name:ident$(<$type:ident: $bound:path>)?
        ($($argument:ident: $of:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$attribute])*
        #[inline(never)]
        $visibility fn $name$(<$type: $bound>)?($($argument: $of),*) $(-> $result)? {
            #[inline(always)]
            fn body$(<$type: $bound>)?($($argument: $of),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            if let Some(avx2) = fearless_simd::Level::new().as_avx2() {
                return fearless_simd::Simd::vectorize(avx2, move || body$(::<$type>)?($($argument),*));
            }
            body$(::<$type>)?($($argument),*)
        }
    )*};
}

pub(crate) use widest;
