//! Both directions of an established tunnel: records in and out, key updates, alerts, closing.
//!
//! The bytes come from and go to the caller's buffers, in place. Handshaking is over when this
//! begins; rustls stays only as the keeper of the traffic secrets.

use std::fmt;
use std::ops::Range;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ConnectionTrafficSecrets, ExtractedSecrets};

use crate::error::Error;
use crate::keys::{Suite, TrafficKey};
use crate::limits::Limits;
use crate::post_handshake::{KEY_UPDATE, NEW_SESSION_TICKET, Reassembly};
use crate::record::{Fragment, Opener, Sealer, content};

/// What stood at the front of a buffer given to [`Records::open`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a record is whole or not, and carries payload, housekeeping or the end"
)]
pub enum Opened {
    /// Not yet a whole record: read on until there are `need` bytes in all (as far as can be told
    /// now; with fewer than five bytes that is the header), then ask again.
    Incomplete {
        /// Bytes the buffer must hold, counted from its front.
        need: usize,
    },
    /// Payload.
    Data {
        /// Bytes of the record, to be removed from the front of the buffer.
        record: usize,
        /// Where in the buffer the payload stands now; never empty.
        plaintext: Range<usize>,
    },
    /// A record that was for this room only: a ticket, a key update, an empty record.
    Handled {
        /// Bytes of the record, to be removed from the front of the buffer.
        record: usize,
        /// The peer asked for a key update in return: call [`Records::maintenance`] before sealing
        /// the next record.
        respond: bool,
    },
    /// The peer has said that nothing follows. Do not open any further.
    CloseNotify {
        /// Bytes of the record, to be removed from the front of the buffer.
        record: usize,
    },
}

/// The record layer of one established tunnel, both directions.
///
/// Not `Clone`: a second copy would use a nonce twice.
pub struct Records {
    sealer: Sealer,
    opener: Opener,
    secrets: Secrets,
    limits: Limits,
    reassembly: Reassembly,
    reading: Reading,
    writing: Writing,
    /// The peer asked for a key update of ours and has not got it yet.
    update_owed: bool,
    /// We asked for a key update of the peer's and have not got it yet.
    update_asked: bool,
    /// Records and messages in a row without payload.
    fruitless: u32,
    key_updates_sent: u64,
    key_updates_received: u64,
}

/// rustls' key schedule, which differs in type by our role.
pub(crate) enum Secrets {
    Client(Box<KernelConnection<ClientConnectionData>>),
    Server(Box<KernelConnection<ServerConnectionData>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    Closed,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    Closed,
}

impl Records {
    pub(crate) fn new(
        extracted: &ExtractedSecrets,
        secrets: Secrets,
        limits: Limits,
    ) -> Result<Self, Error> {
        let (tx_sequence, tx) = &extracted.tx;
        let (rx_sequence, rx) = &extracted.rx;
        Ok(Self {
            sealer: Sealer::new(TrafficKey::new(tx)?, *tx_sequence),
            opener: Opener::new(TrafficKey::new(rx)?, *rx_sequence),
            secrets,
            limits,
            reassembly: Reassembly::default(),
            reading: Reading::Open,
            writing: Writing::Open,
            update_owed: false,
            update_asked: false,
            fruitless: 0,
            key_updates_sent: 0,
            key_updates_received: 0,
        })
    }

    /// Seals `record` in place. Its layout is `[5 header][n plaintext][1 type][16 tag]`, so it is
    /// `n + RECORD_OVERHEAD` bytes long; the plaintext already stands at `record[5..5 + n]`, with
    /// n at most [`MAX_PLAINTEXT`](crate::MAX_PLAINTEXT), and the rest is written over.
    ///
    /// Records must reach the peer in the order in which they were sealed.
    ///
    /// # Errors
    /// [`Error::RecordLayout`] when the slot has no possible record's length, [`Error::KeyWornOut`]
    /// when `maintenance` was forgotten for [`SEAL_RECORDS_MAX`](crate::SEAL_RECORDS_MAX) records,
    /// [`Error::SealAfterClose`]. Nothing has been sealed then.
    #[inline]
    pub fn seal(&mut self, record: &mut [u8]) -> Result<(), Error> {
        if self.writing != Writing::Open {
            return Err(Error::SealAfterClose);
        }
        self.sealer.seal(record, content::APPLICATION_DATA)
    }

    /// Opens the record at the front of `buf` in place, if it is whole.
    ///
    /// # Errors
    /// Whatever is wrong with the record; the tunnel is then over. Send
    /// [`Error::alert`] by [`alert`](Self::alert), and close.
    #[inline]
    pub fn open(&mut self, buf: &mut [u8]) -> Result<Opened, Error> {
        match self.reading {
            Reading::Open => {}
            Reading::Closed => return Err(Error::OpenAfterClose),
            Reading::Failed => return Err(Error::AlreadyFailed),
        }
        let opened = match self.opener.open(buf) {
            Ok(Fragment::Incomplete { need }) => Ok(Opened::Incomplete { need }),
            Ok(Fragment::Whole {
                record,
                content_type: content::APPLICATION_DATA,
                plaintext,
            }) if !plaintext.is_empty() && !self.reassembly.is_within_message() => {
                self.fruitless = 0;
                Ok(Opened::Data { record, plaintext })
            }
            Ok(Fragment::Whole {
                record,
                content_type,
                plaintext,
            }) => {
                let content = buf.get(plaintext).unwrap_or_default();
                self.housekeep(record, content_type, content)
            }
            Err(error) => Err(error),
        };
        if opened.is_err() {
            self.reading = Reading::Failed;
        }
        opened
    }

    /// True when [`maintenance`](Self::maintenance) has something to send. Cheap; ask before each
    /// batch of records.
    #[inline]
    #[must_use]
    pub fn needs_maintenance(&self) -> bool {
        self.writing == Writing::Open
            && (self.update_owed
                || self.sealer.sequence() >= self.limits.key_update_records
                || self.asking_is_due())
    }

    /// Appends the key update that is due, ours or the one the peer asked for, to `out` and seals
    /// with the new key from then on. Does nothing when nothing is due.
    ///
    /// `out` must be sent behind the records already sealed and before those sealed later.
    ///
    /// # Errors
    /// [`Error::Secrets`] when rustls cannot derive the next key; the tunnel is then over.
    pub fn maintenance(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.needs_maintenance() {
            self.update_key(out)?;
        }
        Ok(())
    }

    /// Appends close_notify to `out`; nothing can be sealed afterwards. Opening goes on.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.alert(AlertDescription::CloseNotify, out);
    }

    /// Appends an alert to `out`; nothing can be sealed afterwards. Does nothing after `close` or
    /// another alert.
    pub fn alert(&mut self, alert: AlertDescription, out: &mut Vec<u8>) {
        if self.writing != Writing::Open {
            return;
        }
        self.writing = Writing::Closed;
        let level = if alert == AlertDescription::CloseNotify {
            ALERT_WARNING
        } else {
            ALERT_FATAL
        };
        // Refused only behind the wall of SEAL_RECORDS_MAX. Then the peer learns of the end by the
        // end of the stream: an alert is worth less than a nonce limit.
        let _best_effort = self
            .sealer
            .append(&[level, u8::from(alert)], content::ALERT, out);
    }

    /// True when the peer said close_notify. When the byte stream ends and this is false, the
    /// stream was cut and its last bytes may be missing.
    #[must_use]
    pub fn is_closed_cleanly(&self) -> bool {
        self.reading == Reading::Closed
    }

    /// The cipher suite both agreed on.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.opener.suite()
    }

    /// Key updates we have sent so far.
    #[must_use]
    pub fn key_updates_sent(&self) -> u64 {
        self.key_updates_sent
    }

    /// Key updates the peer has sent so far.
    #[must_use]
    pub fn key_updates_received(&self) -> u64 {
        self.key_updates_received
    }

    fn asking_is_due(&self) -> bool {
        !self.update_asked && self.opener.sequence() >= self.limits.ask_update_records
    }

    fn update_key(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let ask = self.asking_is_due();
        let message = [KEY_UPDATE, 0, 0, 1, u8::from(ask)];
        self.sealer.append(&message, content::HANDSHAKE, out)?;
        let (sequence, secrets) = self.secrets.update_tx()?;
        self.sealer.rekey(TrafficKey::new(&secrets)?, sequence);
        self.update_owed = false;
        self.update_asked |= ask;
        self.key_updates_sent += 1;
        Ok(())
    }

    /// Obeys a record that carries no payload.
    #[cold]
    fn housekeep(
        &mut self,
        record: usize,
        content_type: u8,
        bytes: &[u8],
    ) -> Result<Opened, Error> {
        self.count_fruitless()?;
        //= RFC 8446, section 5.1
        //# if a handshake message is split over two or more records, there MUST NOT be any
        //# other records between them.
        if self.reassembly.is_within_message() && content_type != content::HANDSHAKE {
            return Err(Error::InterleavedMessage);
        }
        match content_type {
            content::APPLICATION_DATA => Ok(Opened::Handled {
                record,
                respond: false,
            }),
            content::HANDSHAKE => {
                self.obey_messages(bytes)?;
                Ok(Opened::Handled {
                    record,
                    respond: self.update_owed,
                })
            }
            content::ALERT => self.obey_alert(record, bytes),
            content_type => Err(Error::UnexpectedRecord { content_type }),
        }
    }

    fn obey_messages(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut reassembly = std::mem::take(&mut self.reassembly);
        let obeyed = reassembly.receive(bytes, |message_type, body, last| {
            self.obey_message(message_type, body, last)
        });
        self.reassembly = reassembly;
        obeyed
    }

    fn obey_message(&mut self, message_type: u8, body: &[u8], last: bool) -> Result<(), Error> {
        self.count_fruitless()?;
        match message_type {
            KEY_UPDATE => {
                let asked = match body {
                    [0] => false,
                    [1] => true,
                    _ => return Err(Error::MalformedMessage { message_type }),
                };
                //= RFC 8446, section 5.1
                //# Handshake messages MUST NOT span key changes. Implementations MUST verify that
                //# all messages immediately preceding a key change align with a record boundary
                if !last {
                    return Err(Error::MisplacedKeyUpdate);
                }
                let (sequence, secrets) = self.secrets.update_rx()?;
                self.opener.rekey(TrafficKey::new(&secrets)?, sequence);
                self.update_asked = false;
                //= RFC 8446, section 4.6.3
                //# an implementation which receives multiple KeyUpdates while it is silent to
                //# respond with a single update.
                self.update_owed |= asked;
                self.key_updates_received += 1;
                Ok(())
            }
            NEW_SESSION_TICKET => self.secrets.keep_ticket(body),
            _ => Err(Error::UnexpectedMessage { message_type }),
        }
    }

    fn obey_alert(&mut self, record: usize, bytes: &[u8]) -> Result<Opened, Error> {
        let &[level, description] = bytes else {
            return Err(if bytes.is_empty() {
                Error::EmptyFragment
            } else {
                Error::MalformedAlert
            });
        };
        if !matches!(level, ALERT_WARNING | ALERT_FATAL) {
            return Err(Error::MalformedAlert);
        }
        //= RFC 8446, section 6
        //# The level is implicit in the type of alert being sent and can safely be ignored.
        let alert = AlertDescription::from(description);
        if alert == AlertDescription::CloseNotify {
            self.reading = Reading::Closed;
            return Ok(Opened::CloseNotify { record });
        }
        if alert == AlertDescription::UserCanceled {
            return Ok(Opened::Handled {
                record,
                respond: false,
            });
        }
        Err(Error::AlertReceived(alert))
    }

    fn count_fruitless(&mut self) -> Result<(), Error> {
        self.fruitless = self.fruitless.saturating_add(1);
        if self.fruitless > self.limits.fruitless_max {
            return Err(Error::Fruitless);
        }
        Ok(())
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("suite", &self.suite())
            .field("sealed", &self.sealer.sequence())
            .field("opened", &self.opener.sequence())
            .field("reading", &self.reading)
            .field("writing", &self.writing)
            .finish_non_exhaustive()
    }
}

impl Secrets {
    fn update_tx(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::Client(kernel) => kernel.update_tx_secret(),
            Self::Server(kernel) => kernel.update_tx_secret(),
        }
        .map_err(|cause| Error::Secrets(Box::new(cause)))
    }

    fn update_rx(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::Client(kernel) => kernel.update_rx_secret(),
            Self::Server(kernel) => kernel.update_rx_secret(),
        }
        .map_err(|cause| Error::Secrets(Box::new(cause)))
    }

    /// A client hands tickets to rustls, which checks them (and, by our settings, keeps none).
    fn keep_ticket(&mut self, body: &[u8]) -> Result<(), Error> {
        match self {
            Self::Client(kernel) => {
                kernel
                    .handle_new_session_ticket(body)
                    .map_err(|_refused| Error::MalformedMessage {
                        message_type: NEW_SESSION_TICKET,
                    })
            }
            Self::Server(_) => Err(Error::UnexpectedMessage {
                message_type: NEW_SESSION_TICKET,
            }),
        }
    }
}

const ALERT_WARNING: u8 = 1;
const ALERT_FATAL: u8 = 2;

const _: () = {
    const fn may_move_between_shards<T: Send>() {}
    may_move_between_shards::<Records>();
};

#[cfg(test)]
mod tests;
