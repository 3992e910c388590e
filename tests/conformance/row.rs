//! A row of the tables: what the server says, and what must follow.

/// Where the row is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// On a connection on which nothing has been said.
    Fresh,
    /// Behind a message in fragments, after which another part of the daemon reads on.
    Behind,
    /// The first on a connection with permessage-deflate.
    Deflate,
    /// The second on one.
    DeflateBehind,
}

impl Lane {
    /// What the server has agreed to there, beside the upgrade.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Fresh | Self::Behind => "",
            Self::Deflate | Self::DeflateBehind => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
            }
        }
    }

    /// What the server has said there before.
    pub fn before(self) -> Vec<u8> {
        match self {
            Self::Fresh | Self::Deflate => Vec::new(),
            Self::Behind | Self::DeflateBehind => [frame(0x01, b"be"), frame(0x80, b"fore")].concat(),
        }
    }
}

/// How the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It goes on; so the server closes with 1000, and all is well.
    GoesOn,
    /// The client closes with this code, for this cause, and says so in these words.
    Fails(u16, &'static str, &'static str),
    /// The server has closed: the code and the reason that are shown, and the code of the answer if it has one.
    Closed(u16, &'static str, Option<u16>),
    /// The server ends TCP.
    Lost,
}

/// One behaviour.
#[derive(Debug, Clone)]
pub struct Row {
    /// The demand that it is about.
    pub demand: &'static str,
    /// What the server does.
    pub what: &'static str,
    /// By these bytes.
    pub bytes: Vec<u8>,
    /// Where.
    pub lanes: &'static [Lane],
    /// How it ends.
    pub end: End,
    /// What consumers receive: the bytes, and whether they are binary.
    pub received: Vec<(Vec<u8>, bool)>,
    /// What the client says before it closes: first bytes and payloads.
    pub answers: Vec<(u8, Vec<u8>)>,
    /// Of the answers the last is enough.
    pub last_is_enough: bool,
}

const PLAIN: &[Lane] = &[Lane::Fresh, Lane::Behind, Lane::Deflate];

/// A row on every connection. Without more nothing follows: nothing is received, and nothing answered.
pub fn row(demand: &'static str, what: &'static str, parts: &[&[u8]]) -> Row {
    Row {
        demand,
        what,
        bytes: parts.concat(),
        lanes: PLAIN,
        end: End::GoesOn,
        received: Vec::new(),
        answers: Vec::new(),
        last_is_enough: false,
    }
}

impl Row {
    /// The connection fails.
    pub fn fails(self, code: u16, words: &'static str) -> Self {
        let cause = if code == 1009 { "too_big" } else { "protocol" };
        Self { end: End::Fails(code, cause, words), ..self }
    }

    /// The server has closed.
    pub fn closed(self, code: u16, reason: &'static str, answer: Option<u16>) -> Self {
        Self { end: End::Closed(code, reason, answer), ..self }
    }

    /// The server ends TCP behind it.
    pub fn lost(self) -> Self {
        Self { end: End::Lost, ..self }
    }

    /// A text is received.
    pub fn text(mut self, text: impl AsRef<[u8]>) -> Self {
        self.received.push((text.as_ref().to_vec(), false));
        self
    }

    /// A binary message is received.
    pub fn binary(mut self, data: impl AsRef<[u8]>) -> Self {
        self.received.push((data.as_ref().to_vec(), true));
        self
    }

    /// A pong leaves.
    pub fn pong(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.answers.push((0x8A, payload.as_ref().to_vec()));
        self
    }

    /// Answers before the last may be left out.
    pub fn at_least_the_last(self) -> Self {
        Self { last_is_enough: true, ..self }
    }

    /// Only where compression was not agreed on.
    pub fn plain(self) -> Self {
        Self { lanes: &[Lane::Fresh, Lane::Behind], ..self }
    }

    /// Only where it was.
    pub fn deflate(self) -> Self {
        Self { lanes: &[Lane::Deflate, Lane::DeflateBehind], ..self }
    }
}

/// A frame of a server.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => bytes.push(short),
        (_, Ok(long)) => bytes.extend([&[126][..], &long.to_be_bytes()].concat()),
        (_, Err(_)) => bytes.extend([&[127][..], &(payload.len() as u64).to_be_bytes()].concat()),
    }
    [bytes, payload.to_vec()].concat()
}

/// A Close with this code and reason.
pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes()[..], reason].concat())
}
