//! A frame as somebody who looks sees it go by.

use serde::{Deserialize, Serialize};

/// A frame that went by, or a gap; keys that it does not have are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Frame {
    /// `frame` or `gap`
    #[serde(rename = "type")]
    pub kind: String,
    /// `NAME/INDEX`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// When it was read, or handed to the socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// `in` or `out`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// `text`, `binary`, `ping`, `pong`, `close`; a message in fragments is one frame here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opcode: Option<String>,
    /// Bytes of its payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// `close`: its code, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// `close`: its reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With `payloads=true`: its first 4 KiB, text as it is, all else in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// `data` is not all of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// `gap`: how many frames went by unseen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
}
