//! Presets: keys of an endpoint that come with the program, by the name of the service that they are for.
//!
//! Each is a file in `config/presets`, which says first where its facts are documented. What a reader would get wrong: a preset brings no
//! URL and no secret; it says by `${value:NAME}` what it needs of the endpoint.

use config::{FileFormat, Value};

use super::{
    check::{item::Item, section::suggestion},
    source,
};

/// How the origin of a preset's value begins.
const ORIGIN: &str = "preset ";

/// A shipped set of keys.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// What it is called.
    pub name: &'static str,
    /// TOML, with comments that say what it is for and where its facts are from.
    pub text: &'static str,
}

/// Presets by the names of their files.
macro_rules! presets {
    ($($name:literal)*) => {
        [$(Preset { name: $name, text: include_str!(concat!("../../config/presets/", $name, ".toml")) }),*]
    };
}

/// Each, in order of name.
pub static ALL: [Preset; 28] = presets! {
    "actioncable" "binance" "bluesky-jetstream" "centrifugo" "coinbase" "devtools" "discord" "graphql-ws" "home-assistant"
    "json-rpc" "jupyter" "kraken" "mastodon" "mqtt" "mqtt-anonymous" "nats" "ocpp1.6" "ocpp2.0.1" "okx" "openai-realtime"
    "phoenix" "pusher" "signalr" "slack" "socket.io" "stomp" "twitch-eventsub" "xmpp"
};

impl Preset {
    /// The one of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|preset| preset.name == name)
    }

    /// Its first sentence.
    pub fn about(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }

    /// Whether it says how keys are asked for.
    pub fn subscribes(&self) -> bool {
        self.text.lines().any(|line| line == "[subscriptions]")
    }

    /// As keys of an endpoint.
    pub(super) fn tree(&self) -> Value {
        source::parse(self.text, &format!("{ORIGIN}{}", self.name), FileFormat::Toml, &mut Vec::new())
    }
}

/// The preset that a value of this origin is of.
pub(super) fn of_origin(origin: &str) -> Option<&str> {
    origin.strip_prefix(ORIGIN).map(|rest| rest.split(':').next().unwrap_or(rest))
}

/// `preset`
pub(super) fn read(item: &Item<'_>) -> Option<&'static Preset> {
    let name = item.text()?;
    let preset = Preset::find(name);
    if preset.is_none() {
        let names: Vec<&str> = ALL.iter().map(|preset| preset.name).collect();
        item.fault("there is no such preset", suggestion(name, &names));
    }
    preset
}
