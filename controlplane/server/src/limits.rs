//! The named limits of the server: what nodes, people and questions may cost it.

use std::time::Duration;

/// Acts that are kept. 100,000: at 600 bytes each 60 MB of store; older ones are to be exported before
/// (`adit audit export`).
pub const ACTS_KEPT: u64 = 100_000;

/// Versions of a location's rules that can come back. 200: months of daily changes. On disk 200 times the size of the
/// rules.
pub const VERSIONS_KEPT: u64 = 200;

/// How often a commit is tried while others write at the same place. 20: with ten servers writing at once the last
/// one succeeds at its tenth try.
pub const COMMIT_TRIES: u64 = 20;

/// Entries read from the store at once. 200.
pub const PAGE_ITEMS_MAX: usize = 200;

/// How long an invitation can be used. 15 minutes.
pub const INVITATION_LIFE: Duration = Duration::from_secs(15 * 60);

/// Invitations at one time. 1,000: a rack of machines. 400 bytes each.
pub const INVITATIONS_MAX: usize = 1000;

/// Invitations of one subaccount, and of the gateways, at one time. 200: no subaccount keeps another from inviting.
pub const INVITATIONS_HERE_MAX: usize = 200;

/// How often a node that has as many certificates as count at one time gets another one while a certificate lives: 24,
/// twelve times what it needs. Each drops one, which all nodes keep in mind, 40 bytes, until it ends; what they can keep in
/// mind is 26,000, and nobody fills that alone.
pub const RENEWALS_PER_LIFE: u64 = 24;

/// Logins and tokens of one user at one time. 100. Beyond, the oldest login ends: nobody keeps another from logging in.
pub const BEARERS_OF_ONE_MAX: usize = 100;

/// Tokens of one user at one time. 99: there is always room for a login, which is what ends tokens.
pub const TOKENS_OF_ONE_MAX: usize = BEARERS_OF_ONE_MAX - 1;

/// How long a login lasts. 12 hours: a working day.
pub const LOGIN_LIFE: Duration = Duration::from_secs(12 * 3600);

/// Logins and tokens at one time. 10,000; 300 bytes each.
pub const BEARERS_MAX: usize = 10_000;

/// Connections to the server's door. 12,000: ten thousand nodes and people; beyond, new ones wait. 256 KiB each at
/// most while something comes that nobody reads yet; 20 KiB while quiet: 240 MiB.
pub const CONNECTIONS_MAX: usize = 12_000;

/// How long a TLS handshake may take. 10 s.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// How long a head may take to come. 10 s.
pub const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How long a JSON body may take to come. 10 s.
pub const BODY_LIMIT: Duration = Duration::from_secs(10);

/// How long a rule set may take to come. 5 minutes: the largest at 2 Mbit/s.
pub const RULES_LIMIT: Duration = Duration::from_secs(300);

/// Events that wait for one node. 16: a document is shared by all it goes to. Beyond, the subscription ends, and the node
/// comes back for what is new.
pub const EVENTS_WAITING_MAX: usize = 16;

/// Questions that wait for one node's answer. 32.
pub const ASKS_MAX: usize = 32;

/// How long a node may take to answer. 5 s.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long a node that says nothing counts as connected. 12 s: four of its beats.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(12);

/// How long after a refusal that may pass, such as for want of room on the node's disk, the node is sent the same rules
/// again. 10 s, and twice as long after each further refusal. The node reads them and compiles them again each time.
pub const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The longest such wait. 5 minutes: who has made room should not wait longer.
pub const AGAIN_AFTER_MAX: Duration = Duration::from_secs(300);

/// How long what a server says of itself and its nodes outlives it. 15 s.
pub const LIVE_TTL: Duration = Duration::from_secs(15);

/// Bytes of what a node calls its program. 128; kept and shown while it is connected.
pub const SOFTWARE_BYTES_MAX: usize = 128;

/// Lines of a refusal, or of why a node takes no work, that are kept. 100: the record of a node stays below
/// 2 x 100 x 256 bytes = 50 KiB, fifty of them one commit.
pub const LINES_KEPT: usize = 100;

/// Bytes of such a line that are kept. 256.
pub const LINE_BYTES_KEPT: usize = 256;

/// Nodes that are asked one question at one time. 200. Of requests, [`WHY_BYTES_MAX`] of what they say are held, of
/// recorded decisions the answers of [`TRAFFIC_ASKED_MAX`] of them.
pub const ASKED_NODES_MAX: usize = 200;

/// Bytes of what one node knows of one request. 64 KiB: some ten times what an agent tells of a request with the longest
/// names. A longer answer is nobody's, and its node counts as silent.
pub const WHY_ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of what all nodes know of one request. 1 MiB: of two or three that know something. Beyond, nodes count as silent.
pub const WHY_BYTES_MAX: usize = 1024 * 1024;

/// Agents that tell of their records at one time, for one who asks. 8; 1 MiB each.
pub const TRAFFIC_ASKED_MAX: usize = 8;

/// People who may ask for recorded decisions at one time. 2; others are told to come back.
pub const TRAFFIC_READERS_MAX: usize = 2;

/// How long all agents together may take to tell of their records. 60 s: 2 GiB come in 64 parts.
pub const TRAFFIC_LIMIT: Duration = Duration::from_secs(60);

/// Different requests that are put together of what agents recorded. 20,000. Worst case 20,000 x 5,000 bytes = 100 MB for
/// each of [`TRAFFIC_READERS_MAX`]; as people write names and paths 6 MB. Further grants are held by rule.
pub const TRAFFIC_REQUESTS_MAX: usize = 20_000;

/// Pairs of system, rule and method of grants that are held by rule. 10,000: a rule set with as many used rules. Worst
/// case 35 MB.
pub const TRAFFIC_RULES_MAX: usize = 10_000;

/// Bytes of the answer about recorded decisions. 16 MiB: of more, the rarest are told by rule.
pub const TRAFFIC_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Passwords hashed at one time. 2: 19 MiB and a core each.
pub const HASHERS_MAX: usize = 2;

/// Rule sets compiled at one time. 2: 200 MiB each at the largest.
pub const COMPILERS_MAX: usize = 2;

/// Bytes of all bodies that are being read, before and after the caller is known. 256 MiB.
pub const BODIES_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long the setup token counts. 24 hours; a restart without users makes a new one.
pub const SETUP_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How long fetching an issuer's keys may take: its document, then the keys. 10 s; one fetch at a time.
pub const KEYS_FETCH_LIMIT: Duration = Duration::from_secs(10);

/// Bytes of the head of an issuer's answer. 16 KiB, once; bodies have `adit_people::limits::DISCOVERY_BYTES_MAX` and
/// `adit_token::limits::JWKS_BYTES_MAX`: 6 MiB in all while they are read.
pub const KEYS_HEAD_BYTES_MAX: usize = 16 * 1024;

/// How often an issuer's keys are fetched. 10 minutes: providers publish a key hours before they sign with it, and what
/// they take back counts no longer than this.
pub const KEYS_REFRESH: Duration = Duration::from_secs(600);

/// After what time a fetch that failed is tried again. 5 s; each further failure doubles it.
pub const KEYS_RETRY_FIRST: Duration = Duration::from_secs(5);

/// The longest wait after failed fetches. 5 minutes.
pub const KEYS_RETRY_MAX: Duration = Duration::from_secs(300);

/// How long the last good keys count while none can be fetched. 24 hours: a provider's bad day, and no longer, since who
/// keeps us from it could keep a key alive that was taken back. 80 KiB.
pub const KEYS_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Between two fetches for tokens with a key that is not known. 10 s: a made-up token costs the provider nothing more.
pub const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(10);

/// Requests that wait for an issuer's answer about a key that is not known. 256; 20 KiB each. Beyond, a token is refused
/// at once: whoever makes up keys holds no more than that.
pub const KEY_WAITERS_MAX: usize = 256;

/// Bytes of a backup before it is sealed. 192 MiB: a thousand locations with rules of 100 KiB; what comes back has to fit
/// [`BODIES_BYTES_MAX`]. Held three times while it is made or restored: 576 MiB.
pub const BACKUP_BYTES_MAX: usize = 192 * 1024 * 1024;

/// How long the turn to send acts outlives the server that has it. 15 s: so long nobody sends after a crash.
pub const SENDER_TTL: Duration = Duration::from_secs(15);

const _: () = assert!(BACKUP_BYTES_MAX + adit_api::limits::BODY_BYTES_MAX < BODIES_BYTES_MAX);
