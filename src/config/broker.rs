//! `[brokers.NAME]`: where messages go to and come from by bridges.
//!
//! What a reader would get wrong: a broker is part of each bridge that names it. A change of one is a change of those.

use std::{sync::Arc, time::Duration};

use wskeeper_link::endpoint::{Template, Tls};

/// A broker.
#[derive(Debug, Clone, PartialEq)]
pub struct Broker {
    /// What it is called.
    pub name: Arc<str>,
    /// What it is.
    pub to: BrokerTo,
    /// Whom to trust and what to show, where TLS is spoken.
    pub tls: Tls,
    /// How long a dial may take, up to the broker's first word.
    pub connect_timeout: Duration,
}

/// What a broker is.
#[derive(Debug, Clone, PartialEq)]
pub enum BrokerTo {
    /// NATS.
    Nats(NatsBroker),
}

/// Servers of one NATS.
#[derive(Debug, Clone, PartialEq)]
pub struct NatsBroker {
    /// Their URLs, tried in order.
    pub servers: Vec<Template>,
    /// Who we are.
    pub login: NatsLogin,
}

/// Who we are to a NATS.
#[derive(Debug, Clone, PartialEq)]
pub enum NatsLogin {
    /// Anybody.
    Nobody,
    /// A user with a password.
    Password(Template, Template),
    /// Who has this token.
    Token(Template),
    /// Whom the text of a `.creds` file names: a JWT and the seed of an NKey.
    Credentials(Template),
}

impl Broker {
    /// Its servers as people may see them.
    pub fn shown(&self) -> String {
        match &self.to {
            BrokerTo::Nats(nats) => nats.servers.iter().map(Template::shown).collect::<Vec<_>>().join(", "),
        }
    }
}
