//! Every bound of this room: name, default, unit, why this number, and the memory it can cost.
//!
//! The parsers obey these numbers and the callers size their buffers by them. Deadlines are not here: time is kept by
//! the rooms that own sockets.

/// Most fields (header lines) any head may have, whatever [`Limits::fields`] says. 128: the room for field positions is
/// on the stack while a head is parsed (128 x 32 bytes = 4 KiB).
pub const FIELDS_MAX: usize = 128;

/// Longest host name in bytes. 253: the longest name DNS can carry (RFC 1035, section 2.3.4, without the root's dot).
pub const HOST_BYTES_MAX: usize = 253;

/// Longest method in bytes. 32: twice the longest registered one (`UPDATEREDIRECTREF`, 17 bytes).
pub const METHOD_BYTES_MAX: usize = 32;

/// Most options in the Connection fields of one head. 16: there are five in use; each may strike out fields, so this
/// bounds the work to 16 x [`FIELDS_MAX`] comparisons.
pub const CONNECTION_OPTIONS_MAX: usize = 16;

/// Longest location ID in bytes. 189: what fits the SOCKS5 door's length byte in base64 (255 / 4 * 3).
pub const LOCATION_BYTES_MAX: usize = 189;

/// Longest token in bytes, at either door. 16 KiB: several times the largest tokens seen in practice; a token costs
/// this much once for each connection that is being authenticated.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Most bytes the SOCKS5 door leaves unconsumed while it waits for more: version, length, token, length, location.
/// Worst-case memory of a connection before it is authenticated.
pub const SOCKS5_MESSAGE_BYTES_MAX: usize = 1 + 4 + TOKEN_BYTES_MAX + 1 + 255;

/// Most bytes of one hello or of its answer. 4 KiB: an order of magnitude above the largest legal one; worst-case
/// memory of a tunnel that has not said hello.
pub const HELLO_BYTES_MAX: usize = 4 * 1024;

/// Longest name of a software version or a gateway in a hello, in bytes. 256: room for a sentence.
pub const NAME_BYTES_MAX: usize = 256;

/// Most bytes of one connect request. 64 KiB: the principal's token is the only large part; worst-case memory of a
/// stream whose purpose is not known yet.
pub const CONNECT_BYTES_MAX: usize = 64 * 1024;

/// Longest principal token in a connect request, in bytes. 60 KiB: what [`CONNECT_BYTES_MAX`] leaves after all else.
pub const PRINCIPAL_BYTES_MAX: usize = 60 * 1024;

/// Longest subaccount ID in bytes. 128: ids are UUIDs (36) or short names.
pub const SUBACCOUNT_BYTES_MAX: usize = 128;

/// Longest name of a caller in bytes. 512: client ids are short; this bounds what audit records repeat.
pub const CALLER_BYTES_MAX: usize = 512;

/// Longest detail of a refusal in bytes. 512: one or two sentences.
pub const DETAIL_BYTES_MAX: usize = 512;

/// Largest rule document a control plane pushes to a node, in bytes. 65 MiB: rules of 64 MiB, which is what an agent
/// takes, with manifest and signatures. Held once while it arrives.
pub const PUSH_BYTES_MAX: usize = 65 * 1024 * 1024;

/// Largest other event or message between a node and its control plane, in bytes. 1 MiB: the longest is the trust, whose
/// list of revoked certificates takes 40 bytes each.
pub const CONTROL_BYTES_MAX: usize = 1024 * 1024;

// A connect request always fits its own limit: 28 bytes of fixed parts and length fields, then the texts.
const _: () = assert!(
    32 + HOST_BYTES_MAX + SUBACCOUNT_BYTES_MAX + CALLER_BYTES_MAX + PRINCIPAL_BYTES_MAX
        <= CONNECT_BYTES_MAX
);
const _: () = assert!(64 + LOCATION_BYTES_MAX + NAME_BYTES_MAX <= HELLO_BYTES_MAX);
const _: () = assert!(SOCKS5_MESSAGE_BYTES_MAX <= 64 * 1024);
const _: () = assert!(LOCATION_BYTES_MAX <= 255 / 4 * 3);

/// Bounds of one HTTP message.
///
/// Worst-case memory of a message whose head is being read: `head_bytes`, plus 24 bytes for each field. A body costs
/// nothing here: it is followed, never held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest line of a head, without its CRLF, in bytes. Default 8192: what SAP's proxy accepts.
    pub line_bytes: usize,
    /// Longest head with its blank line, in bytes. Default 64 KiB: what SAP's connector accepts.
    pub head_bytes: usize,
    /// Most fields of a head. Default 100, at most [`FIELDS_MAX`]: what nginx's and Apache's users live with.
    pub fields: usize,
    /// Whether a field name may contain `_`. Default true: SAP's own field names do. A name that equals a framing field
    /// but for `_` in place of `-` is refused either way.
    pub underscore_names: bool,
    /// Most bytes of chunk extensions in one body. Default 4 KiB: nobody uses them, so more is an attack.
    pub chunk_extension_bytes: u32,
    /// Most bytes of the trailer section of one body. Default 8 KiB: one long line.
    pub trailer_bytes: u32,
    /// How many bytes of chunk framing one body may spend beyond twice its content. Default 256 KiB: 87,381 chunks of
    /// one byte (5 bytes of framing each) pass, a million do not; a body of sensible chunks never touches it.
    pub chunk_overhead_bytes: u64,
}

impl Limits {
    /// For requests from callers: the defaults.
    pub const REQUESTS: Self = Self {
        line_bytes: 8192,
        head_bytes: 64 * 1024,
        fields: 100,
        underscore_names: true,
        chunk_extension_bytes: 4 * 1024,
        trailer_bytes: 8 * 1024,
        chunk_overhead_bytes: 256 * 1024,
    };

    /// For responses from backends. Lines up to 32 KiB: cookies and content security policies grow beyond 8 KiB, and a
    /// backend is nobody's attacker by default.
    pub const RESPONSES: Self = Self {
        line_bytes: 32 * 1024,
        ..Self::REQUESTS
    };

    /// For heads the other end of the tunnel has already checked and rewritten. Wider than the strict ones, because
    /// rewriting adds a few fields and may lengthen `Location` and each `Set-Cookie` by a host name.
    pub const TUNNELLED: Self = Self {
        line_bytes: 64 * 1024,
        head_bytes: 128 * 1024,
        fields: FIELDS_MAX,
        ..Self::REQUESTS
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::REQUESTS
    }
}

// What passed the strict limits must pass the next hop, however it was rewritten: at most 6 fields are added (host,
// connection, te, upgrade, length or coding, forwarded host), and each line may grow by a host, a port and a space.
const _: () = assert!(Limits::REQUESTS.fields + 6 <= Limits::TUNNELLED.fields);
const _: () =
    assert!(Limits::RESPONSES.line_bytes + HOST_BYTES_MAX + 16 <= Limits::TUNNELLED.line_bytes);
const _: () = assert!(
    Limits::RESPONSES.head_bytes + (FIELDS_MAX + 6) * (HOST_BYTES_MAX + 16)
        <= Limits::TUNNELLED.head_bytes
);
