//! `wskeeper presets [NAME]`: what comes with the program, as it is.

use super::{Failure, args, output::Output};
use crate::config::preset::{self, Preset};

/// Lists them, or prints one.
pub(super) fn run(args: &args::Presets, output: &Output) -> Result<(), Failure> {
    let Some(name) = &args.name else {
        let width = preset::ALL.iter().map(|preset| preset.name.len()).max().unwrap_or_default();
        for preset in &preset::ALL {
            output.folded(&format!("{:width$}  {}", preset.name, preset.about()), width.saturating_add(2))?;
        }
        return Ok(());
    };
    let Some(preset) = Preset::find(name) else {
        return Err(Failure::Failed(format!("there is no preset {name:?}; `wskeeper presets` lists them")));
    };
    Ok(output.raw(preset.text.as_bytes())?)
}
