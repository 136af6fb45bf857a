//! The limits of this room, each with its unit, default, reason and worst-case memory.

/// Longest manifest with its signatures and the empty line, in bytes.
///
/// 4 KiB: four signatures take 460, an audience 512. Worst-case memory: that, once, while a document is read.
pub const HEAD_BYTES_MAX: usize = 4 * 1024;

/// Most signatures of one document.
///
/// 4: the old key and the new one of a control plane that changes its key, and as many of a second signer.
/// Bounds the signature checks a document can ask for (4 x about 50 us). No memory.
pub const SIGNATURES_MAX: usize = 4;

/// Longest audience, in bytes.
///
/// 512: a subaccount has at most 128 and a location 256. In the above.
pub const AUDIENCE_BYTES_MAX: usize = 512;

const _: () = assert!(
    AUDIENCE_BYTES_MAX + SIGNATURES_MAX * 128 + 512 <= HEAD_BYTES_MAX,
    "a manifest with the longest audience and all signatures fits"
);
