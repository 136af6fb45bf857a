//! An established tunnel: ciphertext in, stream events out; stream payload in, ciphertext out.
//!
//! Records are opened and sealed where they lie. Sealing happens when a frame is picked for writing,
//! not when it is queued: TLS numbers records in the order in which they are written, and a small
//! frame may overtake bulk.

use std::fmt;
use std::time::Duration;

use adit_mux::{Event, GoAwayCode, OpenError, Payload, SendError, Session, StreamId};
use adit_proto::hello::{Hello, Welcome};
use adit_tls::{MAX_PLAINTEXT, Opened, PeerIdentity, RECORD_HEADER, RECORD_TRAILER, Records};

use crate::batch::Batch;
use crate::error::Error;
use crate::slot::{MUX_HEADER, PAYLOAD_OFFSET, Slot};

/// Payloads up to this many bytes are packed with their neighbours into one record: a copy of 4 KiB
/// is cheaper than a record of its own (22 bytes of overhead and one more AEAD call).
pub const PACK_MAX: usize = 4096;

/// Who is at the other end, as proven by the handshake and as said in the greeting.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Proven: the leaf certificate's identity.
    pub identity: PeerIdentity,
    /// What an agent said of itself; only at the gateway.
    pub hello: Option<Hello>,
    /// What the gateway answered; at both ends.
    pub welcome: Welcome,
    /// The cipher suite, for `status`.
    pub suite: &'static str,
}

/// One established tunnel over memory `B`.
pub struct Tunnel<B: AsRef<[u8]> + AsMut<[u8]>> {
    records: Records,
    session: Session<Slot<B>>,
    peer: Peer,
    // A record under construction that small frames share.
    pack: Option<Pack<B>>,
    // Reused for control records (key updates, alerts), which are rare.
    control: Vec<u8>,
    peer_closed: bool,
    close_sent: bool,
}

struct Pack<B> {
    memory: B,
    // Bytes of plaintext so far.
    len: usize,
}

impl<B: AsRef<[u8]>> Pack<B> {
    // Bytes of plaintext that fit.
    fn room(&self) -> usize {
        let memory = self.memory.as_ref().len();
        memory
            .saturating_sub(RECORD_HEADER + RECORD_TRAILER)
            .min(MAX_PLAINTEXT)
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Tunnel<B> {
    pub(crate) fn new(records: Records, session: Session<Slot<B>>, peer: Peer) -> Self {
        Self {
            records,
            session,
            peer,
            pack: None,
            control: Vec::new(),
            peer_closed: false,
            close_sent: false,
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Opens the whole records at the front of `block` in place and appends what they mean to
    /// `events`; data ranges are ranges of `block`. Returns how many bytes were used up; the rest is
    /// the beginning of a record and must come again at the front of the next call.
    ///
    /// # Errors
    /// The tunnel cannot go on; [`Tunnel::fail`] makes the last words for the peer.
    pub fn receive(
        &mut self,
        block: &mut [u8],
        now: Duration,
        events: &mut Vec<Event>,
    ) -> Result<usize, Error> {
        let mut used = 0;
        while !self.peer_closed {
            let Some(rest) = block.get_mut(used..) else {
                break;
            };
            if rest.is_empty() {
                break;
            }
            match self.records.open(rest)? {
                Opened::Incomplete { .. } => break,
                Opened::Data { record, plaintext } => {
                    let start = used + plaintext.start;
                    let end = used + plaintext.end;
                    self.deliver(
                        block.get(start..end).unwrap_or_default(),
                        start,
                        now,
                        events,
                    )?;
                    used += record;
                }
                Opened::Handled { record, .. } => used += record,
                Opened::CloseNotify { record } => {
                    used += record;
                    self.peer_closed = true;
                }
            }
        }
        Ok(used)
    }

    fn deliver(
        &mut self,
        plaintext: &[u8],
        offset: usize,
        now: Duration,
        events: &mut Vec<Event>,
    ) -> Result<(), Error> {
        let mut at = 0;
        loop {
            let rest = plaintext.get(at..).unwrap_or_default();
            let (taken, event) = self.session.receive(rest, now)?;
            match event {
                Some(Event::Data { stream, range }) => events.push(Event::Data {
                    stream,
                    range: range.start + offset + at..range.end + offset + at,
                }),
                Some(event) => events.push(event),
                None if at + taken >= plaintext.len() => return Ok(()),
                None => {}
            }
            at += taken;
        }
    }

    /// Picks frames, seals them and appends them to `batch` until it holds `limit` bytes or nothing
    /// is left to send. `supply` lends memory for records that small frames share, of at least 8 KiB each; more than a
    /// full record's is not used.
    ///
    /// # Errors
    /// [`Error::Tls`] when a record cannot be sealed; a bug or a key that has been used up.
    pub fn transmit(
        &mut self,
        now: Duration,
        batch: &mut Batch<B>,
        limit: usize,
        supply: &mut impl FnMut() -> B,
    ) -> Result<(), Error> {
        if self.close_sent {
            return Ok(());
        }
        self.maintain(batch, supply)?;
        while batch.bytes() < limit {
            let Some(frame) = self.session.next_frame(now) else {
                break;
            };
            match frame.payload {
                Some(slot) if slot.len() > PACK_MAX => {
                    self.seal_pack(batch)?;
                    self.seal_slot(&frame.header, slot, batch)?;
                }
                Some(slot) => self.pack(&frame.header, slot.payload(), batch, supply)?,
                None => self.pack(&frame.header, &[], batch, supply)?,
            }
        }
        self.seal_pack(batch)
    }

    fn seal_slot(
        &mut self,
        header: &[u8; MUX_HEADER],
        slot: Slot<B>,
        batch: &mut Batch<B>,
    ) -> Result<(), Error> {
        let (mut memory, len) = slot.into_parts();
        let end = PAYLOAD_OFFSET + len + RECORD_TRAILER;
        let record = memory
            .as_mut()
            .get_mut(..end)
            .ok_or(Error::Internal("slot shorter than its payload"))?;
        if let Some(place) = record.get_mut(RECORD_HEADER..PAYLOAD_OFFSET) {
            place.copy_from_slice(header);
        }
        self.records.seal(record)?;
        batch.push(memory, end);
        Ok(())
    }

    fn pack(
        &mut self,
        header: &[u8; MUX_HEADER],
        payload: &[u8],
        batch: &mut Batch<B>,
        supply: &mut impl FnMut() -> B,
    ) -> Result<(), Error> {
        let needed = MUX_HEADER + payload.len();
        if self
            .pack
            .as_ref()
            .is_some_and(|p| p.len + needed > p.room())
        {
            self.seal_pack(batch)?;
        }
        let pack = self.pack.get_or_insert_with(|| Pack {
            memory: supply(),
            len: 0,
        });
        let start = RECORD_HEADER + pack.len;
        let place = pack
            .memory
            .as_mut()
            .get_mut(start..start + needed)
            .ok_or(Error::Internal("supplied memory is shorter than a record"))?;
        let (head, body) = place.split_at_mut(MUX_HEADER);
        head.copy_from_slice(header);
        body.copy_from_slice(payload);
        pack.len += needed;
        Ok(())
    }

    fn seal_pack(&mut self, batch: &mut Batch<B>) -> Result<(), Error> {
        let Some(mut pack) = self.pack.take() else {
            return Ok(());
        };
        let end = RECORD_HEADER + pack.len + RECORD_TRAILER;
        let record = pack
            .memory
            .as_mut()
            .get_mut(..end)
            .ok_or(Error::Internal("supplied memory is shorter than a record"))?;
        self.records.seal(record)?;
        batch.push(pack.memory, end);
        Ok(())
    }

    // Key updates that are due go out before more data is sealed.
    fn maintain(
        &mut self,
        batch: &mut Batch<B>,
        supply: &mut impl FnMut() -> B,
    ) -> Result<(), Error> {
        if self.records.needs_maintenance() {
            self.control.clear();
            self.records.maintenance(&mut self.control)?;
            self.push_control(batch, supply)?;
        }
        Ok(())
    }

    fn push_control(
        &self,
        batch: &mut Batch<B>,
        supply: &mut impl FnMut() -> B,
    ) -> Result<(), Error> {
        if self.control.is_empty() {
            return Ok(());
        }
        let mut memory = supply();
        memory
            .as_mut()
            .get_mut(..self.control.len())
            .ok_or(Error::Internal("control records longer than a record"))?
            .copy_from_slice(&self.control);
        batch.push(memory, self.control.len());
        Ok(())
    }

    /// The last record of a tunnel that ends in good order (close_notify). Nothing is sent after it.
    pub fn close(&mut self, batch: &mut Batch<B>, supply: &mut impl FnMut() -> B) {
        if self.close_sent {
            return;
        }
        self.close_sent = true;
        self.control.clear();
        self.records.close(&mut self.control);
        // Without memory for the last word the peer sees a truncated tunnel, which it must survive.
        let _ = self.push_control(batch, supply);
    }

    /// The last words of a tunnel that cannot go on: a go-away where the multiplexer was offended,
    /// then the alert that `error` calls for.
    pub fn fail(
        &mut self,
        error: &Error,
        now: Duration,
        batch: &mut Batch<B>,
        supply: &mut impl FnMut() -> B,
    ) {
        if self.close_sent {
            return;
        }
        match error {
            Error::Mux(_) => {
                self.session.go_away(GoAwayCode::ProtocolError);
                let _ = self.transmit(now, batch, LAST_WORDS, supply);
                self.close(batch, supply);
            }
            Error::Tls(tls) => {
                self.close_sent = true;
                self.control.clear();
                if let Some(alert) = tls.alert() {
                    self.records.alert(alert, &mut self.control);
                    let _ = self.push_control(batch, supply);
                }
            }
            Error::Hello(_) | Error::Rejected { .. } | Error::Internal(_) => {
                self.close(batch, supply)
            }
        }
    }

    /// Whether the peer said that it will send nothing more.
    pub fn peer_has_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether there is something to send.
    pub fn wants_write(&self) -> bool {
        !self.close_sent && (self.session.wants_write() || self.records.needs_maintenance())
    }

    /// See [`Session::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open(&mut self, now: Duration) -> Result<StreamId, OpenError> {
        self.session.open(now)
    }

    /// See [`Session::sendable`].
    pub fn sendable(&self, id: StreamId) -> usize {
        self.session.sendable(id)
    }

    /// See [`Session::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(
        &mut self,
        id: StreamId,
        slot: Slot<B>,
        fin: bool,
    ) -> Result<(), SendError<Slot<B>>> {
        self.session.send(id, slot, fin)
    }

    /// See [`Session::finish`].
    pub fn finish(&mut self, id: StreamId) {
        self.session.finish(id);
    }

    /// See [`Session::reset`].
    pub fn reset(&mut self, id: StreamId) {
        self.session.reset(id);
    }

    /// See [`Session::consumed`].
    pub fn consumed(&mut self, id: StreamId, bytes: usize, now: Duration) {
        self.session.consumed(id, bytes, now);
    }

    /// See [`Session::poll_event`]: to be drained after each [`Tunnel::transmit`].
    pub fn poll_event(&mut self) -> Option<Event> {
        self.session.poll_event()
    }

    /// See [`Session::go_away`].
    pub fn go_away(&mut self, code: GoAwayCode) {
        self.session.go_away(code);
    }

    /// See [`Session::next_deadline`].
    pub fn next_deadline(&self) -> Option<Duration> {
        self.session.next_deadline()
    }

    /// See [`Session::on_deadline`].
    ///
    /// # Errors
    /// The peer is silent for too long.
    pub fn on_deadline(&mut self, now: Duration) -> Result<(), Error> {
        Ok(self.session.on_deadline(now)?)
    }

    /// The multiplexer, for facts: streams, round trip time, statistics.
    pub fn session(&self) -> &Session<Slot<B>> {
        &self.session
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> fmt::Debug for Tunnel<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Room for what still waits when a tunnel fails: one record.
const LAST_WORDS: usize = MAX_PLAINTEXT;
