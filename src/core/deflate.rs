//! What is offered of permessage-deflate (RFC 7692 §7.1), by a client of ours or to a server of ours, and what may be agreed on.
//!
//! An offer that is not as it may be is declined, and the next one is looked at. An answer is judged strictly: an extension that was not offered or stands there twice, a parameter that is unknown, stands there
//! twice or has another value than it may have is none that this end could keep to. What a reader would get wrong: that the client is not to
//! keep its context may be demanded by a server, and done by a client that was not asked; the same of the server must be answered.

use std::{fmt, str};

/// The extension's name.
pub const NAME: &str = "permessage-deflate";
const SERVER_FORGETS: &str = "server_no_context_takeover";
const CLIENT_FORGETS: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";

/// The largest window that DEFLATE has, as a power of two.
pub const MOST_BITS: u8 = 15;
/// The smallest that we ask for. A server may demand 8, which is the smallest there is.
pub const LEAST_BITS: u8 = 9;
const SMALLEST: u8 = 8;

/// Who may refer to messages before the one that is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Takeover {
    /// Nobody: nothing is kept between messages.
    #[default]
    Neither,
    /// The other end; its window is kept here.
    Peer,
    /// This end, too.
    Both,
}

/// What this end asks a server for, or lets a client have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    /// Who keeps a context.
    pub context: Takeover,
    /// The largest window, both ways: [`LEAST_BITS`] to [`MOST_BITS`].
    pub window_bits: u8,
}

/// What was agreed on, as it stands in the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    server_forgets: bool,
    client_forgets: bool,
    server_bits: Option<u8>,
    client_bits: Option<u8>,
}

/// How messages of one direction are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneWay {
    /// They may refer to those before.
    pub keeps_context: bool,
    /// The window that they are compressed with, at most.
    pub window_bits: u8,
}

/// Both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BothWays {
    /// What this end sends.
    pub ours: OneWay,
    /// What the other end sends.
    pub theirs: OneWay,
}

impl OneWay {
    /// Bytes of the window that is kept between messages.
    pub fn window(self) -> u64 {
        u64::from(self.keeps_context) << self.window_bits
    }
}

/// Why an answer is none.
pub type Unfit = &'static str;

/// What is wrong with an answer that names another extension, or any where none was offered.
pub const NOT_OFFERED: Unfit = "it uses an extension that was not offered";

impl Proposal {
    /// The same without contexts.
    #[must_use]
    pub fn without_context(self) -> Self {
        Self { context: Takeover::Neither, ..self }
    }

    /// Bytes of the windows that a client which proposes this may come to keep.
    pub fn windows(self) -> u64 {
        let kept: u64 = match self.context {
            Takeover::Neither => 0,
            Takeover::Peer => 1,
            Takeover::Both => 2,
        };
        kept << self.window_bits
    }

    /// As it stands in the request.
    pub fn text(self) -> String {
        let bits = Some(self.window_bits).filter(|bits| *bits < MOST_BITS);
        let mut text = NAME.to_owned();
        let mut add = |name: &str, value: Option<u8>| {
            text.extend(["; ", name]);
            text.extend(value.map(|value| format!("={value}")));
        };
        if self.context == Takeover::Neither {
            add(SERVER_FORGETS, None);
        }
        if self.context != Takeover::Both {
            add(CLIENT_FORGETS, None);
        }
        if bits.is_some() {
            add(SERVER_BITS, bits);
        }
        // Without a value too it says that the server may limit it.
        add(CLIENT_BITS, bits);
        text
    }

    /// What the values of `Sec-WebSocket-Extensions` in an answer agree to; `None`: to nothing.
    pub fn judge<'a>(self, values: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Agreement>, Unfit> {
        let mut agreed = None;
        for value in values {
            let value = str::from_utf8(value).map_err(|_| NOT_OFFERED)?;
            // No value that is allowed has a comma or a semicolon in it, not in quotes either.
            for extension in value.split(',').map(trimmed).filter(|extension| !extension.is_empty()) {
                let mut parts = extension.split(';').map(trimmed);
                if parts.next() != Some(NAME) {
                    return Err(NOT_OFFERED);
                }
                if agreed.replace(read(parts, Side::Answer)?).is_some() {
                    return Err("it uses permessage-deflate twice");
                }
            }
        }
        agreed.map(|agreed| self.allows(agreed)).transpose()
    }

    fn allows(self, agreed: Agreement) -> Result<Agreement, Unfit> {
        if self.context == Takeover::Neither && !agreed.server_forgets {
            return Err("it does not agree to server_no_context_takeover, which permessage-deflate was offered with");
        }
        let limit = self.window_bits;
        if limit < MOST_BITS && agreed.server_bits.is_none_or(|bits| bits > limit) {
            return Err("it does not agree to the server_max_window_bits that permessage-deflate was offered with");
        }
        if agreed.client_bits.is_some_and(|bits| bits > limit) {
            return Err("its client_max_window_bits is more than permessage-deflate was offered with");
        }
        Ok(agreed)
    }

    /// What an answer means for the client that has judged it.
    pub fn as_client(self, agreed: Agreement) -> BothWays {
        let ours = OneWay {
            keeps_context: self.context == Takeover::Both && !agreed.client_forgets,
            window_bits: agreed.client_bits.unwrap_or(MOST_BITS).min(self.window_bits),
        };
        BothWays { ours, theirs: agreed.servers() }
    }

    /// What a server answers to the values of `Sec-WebSocket-Extensions` in a request: to the first offer that is as it may be. `None`:
    /// there is none.
    pub fn answer<'a>(self, values: impl IntoIterator<Item = &'a [u8]>) -> Option<Agreement> {
        let values = values.into_iter().filter_map(|value| str::from_utf8(value).ok());
        let mut offers = values.flat_map(|value| value.split(',')).filter_map(|offer| {
            let mut parts = offer.split(';').map(trimmed);
            let is_ours = parts.next() == Some(NAME);
            is_ours.then(|| read(parts, Side::Offer).ok()).flatten()
        });
        offers.next().map(|offer| self.lets_have(offer))
    }

    fn lets_have(self, offer: Agreement) -> Agreement {
        let at_most = |bits: Option<u8>| bits.unwrap_or(MOST_BITS).min(self.window_bits);
        Agreement {
            server_forgets: offer.server_forgets || self.context != Takeover::Both,
            client_forgets: offer.client_forgets || self.context == Takeover::Neither,
            server_bits: Some(at_most(offer.server_bits))
                .filter(|bits| offer.server_bits.is_some() || *bits < MOST_BITS),
            // It may be limited only where the client says that it can be.
            client_bits: offer.client_bits.map(|bits| at_most(Some(bits))).filter(|bits| *bits < MOST_BITS),
        }
    }
}

impl Agreement {
    /// What it means for the server that has answered it.
    pub fn as_server(self) -> BothWays {
        let theirs = OneWay { keeps_context: !self.client_forgets, window_bits: self.client_bits.unwrap_or(MOST_BITS) };
        BothWays { ours: self.servers(), theirs }
    }

    fn servers(self) -> OneWay {
        OneWay { keeps_context: !self.server_forgets, window_bits: self.server_bits.unwrap_or(MOST_BITS) }
    }
}

/// As the standard's `extensions` has it.
impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        for (name, stands) in [(SERVER_FORGETS, self.server_forgets), (CLIENT_FORGETS, self.client_forgets)] {
            if stands {
                write!(f, "; {name}")?;
            }
        }
        for (name, bits) in [(SERVER_BITS, self.server_bits), (CLIENT_BITS, self.client_bits)] {
            if let Some(bits) = bits {
                write!(f, "; {name}={bits}")?;
            }
        }
        Ok(())
    }
}

const PARAMETER: Unfit = "it uses permessage-deflate with a parameter that is unknown, or not as it may be";
const TWICE: Unfit = "it uses permessage-deflate with a parameter twice";

/// Where parameters stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Offer,
    Answer,
}

fn read<'a>(parameters: impl Iterator<Item = &'a str>, side: Side) -> Result<Agreement, Unfit> {
    let mut agreed = Agreement::default();
    for parameter in parameters {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (trimmed(name), Some(trimmed(value))),
            None => (parameter, None),
        };
        let was_there = match (name, value) {
            (SERVER_FORGETS, None) => std::mem::replace(&mut agreed.server_forgets, true),
            (CLIENT_FORGETS, None) => std::mem::replace(&mut agreed.client_forgets, true),
            (SERVER_BITS, Some(value)) => agreed.server_bits.replace(bits(value)?).is_some(),
            // In an offer it says that the client lets the server choose.
            (CLIENT_BITS, None) if side == Side::Offer => agreed.client_bits.replace(MOST_BITS).is_some(),
            (CLIENT_BITS, Some(value)) => agreed.client_bits.replace(bits(value)?).is_some(),
            (_, Some(_) | None) => return Err(PARAMETER),
        };
        if was_there {
            return Err(TWICE);
        }
    }
    Ok(agreed)
}

/// 8 to 15, without a leading zero. What stands in quotes is the same (RFC 6455 §9.1).
fn bits(value: &str) -> Result<u8, Unfit> {
    let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    (SMALLEST..=MOST_BITS).find(|bits| bits.to_string() == bare).ok_or(PARAMETER)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests;
