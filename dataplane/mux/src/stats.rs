//! What a session has counted since it began. Counters only grow.

/// Counters of one session, for metrics and `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Frames read, of every type.
    pub frames_received: u64,
    /// Frames handed out for writing, of every type.
    pub frames_sent: u64,
    /// Payload bytes given to the caller.
    pub bytes_received: u64,
    /// Payload bytes handed out for writing.
    pub bytes_sent: u64,
    /// Streams we opened.
    pub streams_opened: u64,
    /// Streams the peer opened and we took.
    pub streams_accepted: u64,
    /// Streams refused because `streams_max` were open.
    pub refused_streams_max: u64,
    /// Streams refused because `accept_backlog` waited for the caller.
    pub refused_backlog: u64,
    /// Streams refused because received bytes filled 3/4 of `session_buffer_bytes`.
    pub refused_memory: u64,
    /// Streams refused because we had gone away.
    pub refused_going_away: u64,
    /// Streams refused because their id is too old to know whether it was used.
    pub refused_old_id: u64,
    /// Streams the peer reset.
    pub resets_received: u64,
    /// Resets handed out for writing, refusals among them.
    pub resets_sent: u64,
    /// Streams reset because the peer sent more than we had granted.
    pub overruns: u64,
    /// Streams reset because the peer sent data after its FIN.
    pub data_after_fin: u64,
    /// Streams reset because they held most when `session_buffer_bytes` was full.
    pub shed: u64,
    /// Bytes that came for streams already ended, and were thrown away.
    pub late_bytes: u64,
    /// Glitch units charged to the peer, see [`Settings::glitches_max`](crate::Settings::glitches_max).
    pub glitches: u64,
    /// Streams charged to the peer's churn, see [`Settings::churn_max`](crate::Settings::churn_max).
    pub churn: u64,
    /// Pings the peer sent.
    pub pings_received: u64,
    /// Pings of the peer left unanswered because [`PONGS_MAX`](crate::limits::PONGS_MAX) answers waited.
    pub pings_dropped: u64,
    /// Pings handed out for writing.
    pub pings_sent: u64,
    /// Times a receive window grew.
    pub windows_grown: u64,
    /// Times a receive window was narrowed, because others use the session and it held more than its path needs.
    pub windows_narrowed: u64,
}
