//! The verbs that packages call: scripts of completions, and manual pages.
//!
//! What a reader would get wrong: clap's list of shells is not used, for it lacks nushell.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `completions`
#[derive(Debug, Args)]
#[command(after_help = "\
It completes verbs, options, and the names of endpoints and links of the daemon that runs (nushell: no names).

  echo 'source <(wskeeper completions bash)' >> ~/.bashrc
  echo 'source <(wskeeper completions zsh)' >> ~/.zshrc
  wskeeper completions fish > ~/.config/fish/completions/wskeeper.fish
  wskeeper completions nushell | save wskeeper.nu   then `use wskeeper.nu *`")]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// A shell that completes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    /// GNU Bash.
    Bash,
    /// Elvish.
    Elvish,
    /// Fish.
    Fish,
    /// Nushell.
    Nushell,
    /// PowerShell.
    Powershell,
    /// Zsh.
    Zsh,
}

impl Shell {
    /// As it is written on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Elvish => "elvish",
            Self::Fish => "fish",
            Self::Nushell => "nushell",
            Self::Powershell => "powershell",
            Self::Zsh => "zsh",
        }
    }
}

/// `man`
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where to write a page for each verb
    pub(crate) folder: Option<PathBuf>,
}
