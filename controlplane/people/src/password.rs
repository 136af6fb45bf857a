//! Passwords: what they must be, and how they are kept and checked.
//!
//! Argon2id (RFC 9106) in PHC's text form. A hash or a check costs 32 MiB and about 50 ms of one processor: the caller
//! runs it on a blocking thread and bounds how many run at once. How often somebody may try is left to `throttle`.

use core::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use crate::limits::{
    HASH_LANES_MAX, HASH_MEMORY_KIB_MAX, HASH_WORK_KIB_MAX, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN,
};
use crate::user::UserName;

/// Memory of new hashes in KiB: 32 MiB. OWASP asks for 19 MiB with two passes.
pub const MEMORY_KIB: u32 = 32 * 1024;

/// Passes of new hashes.
pub const PASSES: u32 = 2;

/// What a password is checked against. In text and JSON the PHC form, `$argon2id$v=19$m=..,t=..,p=..$SALT$TAG`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash {
    cost: Cost,
    salt: Vec<u8>,
    tag: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Why a password cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadPassword {
    /// Below [`PASSWORD_BYTES_MIN`].
    Short,
    /// Above [`PASSWORD_BYTES_MAX`].
    Long,
    /// It is on everybody's list, one character again and again, or the user's name.
    Hopeless,
    /// The system gave no randomness, or no memory; not the password's fault.
    System,
}

/// A text is not the PHC form of Argon2id within the limits. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHash;

/// Says whether `password` may be `user`'s (NIST SP 800-63B, section 5.1.1.2: a length, a list, no composition rules).
///
/// # Errors
/// What is wrong with it.
pub fn judge(password: &str, user: &UserName) -> Result<(), BadPassword> {
    if password.len() < PASSWORD_BYTES_MIN {
        return Err(BadPassword::Short);
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(BadPassword::Long);
    }
    let plain = password.to_lowercase();
    let one = plain
        .chars()
        .next()
        .is_some_and(|first| plain.chars().all(|other| other == first));
    if one || plain.replace(user.as_str(), "").is_empty() || HOPELESS.contains(&plain.as_str()) {
        return Err(BadPassword::Hopeless);
    }
    Ok(())
}

impl PasswordHash {
    /// Judges `password` and hashes it with a new salt.
    ///
    /// Costs 32 MiB and about 50 ms of one processor.
    ///
    /// # Errors
    /// What is wrong with it, or that the system has no randomness or memory.
    pub fn new(
        password: &str,
        user: &UserName,
        random: &dyn SecureRandom,
    ) -> Result<Self, BadPassword> {
        judge(password, user)?;
        let mut salt = [0; SALT_BYTES];
        random
            .fill(&mut salt)
            .map_err(|_unspecified| BadPassword::System)?;
        let tag = NEW
            .tag(password, &salt, TAG_BYTES)
            .ok_or(BadPassword::System)?;
        Ok(Self {
            cost: NEW,
            salt: salt.to_vec(),
            tag,
        })
    }

    /// Whether it was made with other parameters than new ones are: the next login that succeeds may replace it.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.cost != NEW
    }
}

/// Says whether `password` is the one of `hash`.
///
/// Without a hash (no such user, or one without password) the same work is done and the answer is no: how long it takes
/// does not tell whether there is such a user. Costs 32 MiB and about 50 ms of one processor; a stored hash may ask for
/// more, up to [`HASH_MEMORY_KIB_MAX`] and [`HASH_WORK_KIB_MAX`].
#[must_use]
pub fn verify(password: &str, hash: Option<&PasswordHash>) -> bool {
    // Before the work, for known and unknown users alike.
    if password.len() > PASSWORD_BYTES_MAX {
        return false;
    }
    let Some(hash) = hash else {
        let _unused = NEW.tag(password, &[0; SALT_BYTES], TAG_BYTES);
        return false;
    };
    hash.cost
        .tag(password, &hash.salt, hash.tag.len())
        .is_some_and(|tag| equal(&tag, &hash.tag))
}

const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 32;

const NEW: Cost = Cost {
    memory_kib: MEMORY_KIB,
    passes: PASSES,
    lanes: 1,
};

impl Cost {
    fn tag(self, password: &str, salt: &[u8], bytes: usize) -> Option<Vec<u8>> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(bytes)).ok()?;
        let mut tag = vec![0; bytes];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password.as_bytes(), salt, &mut tag)
            .ok()?;
        Some(tag)
    }

    fn is_bounded(self) -> bool {
        let work = u64::from(self.memory_kib) * u64::from(self.passes);
        self.passes > 0
            && (1..=HASH_LANES_MAX).contains(&self.lanes)
            && (8 * self.lanes..=HASH_MEMORY_KIB_MAX).contains(&self.memory_kib)
            && work <= HASH_WORK_KIB_MAX
    }
}

/// Compares in a time that depends on the length alone.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && core::hint::black_box(differences) == 0
}

impl TryFrom<String> for PasswordHash {
    type Error = BadHash;

    fn try_from(text: String) -> Result<Self, BadHash> {
        read(&text).ok_or(BadHash)
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = hash.cost;
        let salt = STANDARD_NO_PAD.encode(hash.salt);
        let tag = STANDARD_NO_PAD.encode(hash.tag);
        format!("{FRONT}m={memory_kib},t={passes},p={lanes}${salt}${tag}")
    }
}

const FRONT: &str = "$argon2id$v=19$";

fn read(text: &str) -> Option<PasswordHash> {
    let mut parts = text.strip_prefix(FRONT)?.split('$');
    let (cost, salt, tag) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let mut numbers = cost.split(',');
    let mut number = |name: &str| -> Option<u32> {
        let digits = numbers.next()?.strip_prefix(name)?.strip_prefix('=')?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| plain)
    };
    let cost = Cost {
        memory_kib: number("m")?,
        passes: number("t")?,
        lanes: number("p")?,
    };
    let salt = STANDARD_NO_PAD.decode(salt).ok()?;
    let tag = STANDARD_NO_PAD.decode(tag).ok()?;
    // The sizes PHC allows for salts; a shorter tag than 16 bytes would be guessed.
    let whole = numbers.next().is_none()
        && (8..=48).contains(&salt.len())
        && (16..=64).contains(&tag.len())
        && cost.is_bounded();
    whole.then_some(PasswordHash { cost, salt, tag })
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl fmt::Display for BadPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(f, "the password has less than {PASSWORD_BYTES_MIN} bytes; take a longer one"),
            Self::Long => write!(f, "the password has more than {PASSWORD_BYTES_MAX} bytes; take a shorter one"),
            Self::Hopeless => f.write_str(
                "the password is one that is tried first; take four words that do not belong together",
            ),
            Self::System => f.write_str("the system has no randomness or memory now; try again"),
        }
    }
}

impl core::error::Error for BadPassword {}

impl fmt::Display for BadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the stored password is not Argon2id in PHC's form within the limits; set a new one",
        )
    }
}

impl core::error::Error for BadHash {}

/// What people take when twelve characters are asked for, in lower case.
const HOPELESS: [&str; 40] = [
    "123456789012",
    "1234567890123",
    "12345678901234",
    "123456789012345",
    "1234567890123456",
    "012345678901",
    "0123456789ab",
    "123412341234",
    "123123123123",
    "123456123456",
    "1234567890ab",
    "1234567890qwertyuiop",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "1qaz2wsx3edc4rfv",
    "abcabcabcabc",
    "abcd1234abcd",
    "abcdef123456",
    "abcdefghijkl",
    "abcdefghijklm",
    "abcdefghijklmnopqrstuvwxyz",
    "adminadminadmin",
    "administrator",
    "administrator1",
    "admin1234567",
    "admin12345678",
    "changechange",
    "changeme1234",
    "changemechangeme",
    "correct horse battery staple",
    "correcthorsebatterystaple",
    "iloveyou1234",
    "letmeinletmein",
    "password1234",
    "password12345",
    "password123456",
    "passwordpassword",
    "qwertyuiop123",
    "qwertyuiopasdfghjkl",
    "welcome12345",
];
