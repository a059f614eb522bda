//! Loops compiled once more for wider registers, which are used where the machine has them.
//!
//! A portable build has those of every 64-bit x86: 16 bytes. Nearly every machine has 32, many have 64, and a loop over a
//! vector takes less time with them. `fearless_simd` compiles what it is given for each and asks the machine, without
//! `unsafe` of ours. Results are the same bits: the instructions differ, not the operations.
//!
//! Not here: the loops.

/// Makes functions of loops, each compiled apart from its callers (within larger functions the compiler gives vector
/// instructions up), for the registers of any machine. Worth it for a hundred numbers and more.
macro_rules! widest {
    ($($(#[$attribute:meta])* $visibility:vis fn $name:ident$(<$type:ident: $bound:path>)?
        ($($argument:ident: $of:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$attribute])*
        #[inline(never)]
        $visibility fn $name$(<$type: $bound>)?($($argument: $of),*) $(-> $result)? {
            #[inline(always)]
            fn body$(<$type: $bound>)?($($argument: $of),*) $(-> $result)? $body
            fearless_simd::dispatch!(fearless_simd::Level::new(), _ => body$(::<$type>)?($($argument),*))
        }
    )*};
}

pub(crate) use widest;
