//! `tidelog completions`: what a shell needs to complete command lines.
//!
//! Not here: what there is to complete (the commands' own arguments).

use std::io::{Write, stdout};

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

/// Print what a shell needs to complete this program's command lines
#[derive(clap::Args)]
#[command(before_help = "example:  tidelog completions bash > /etc/bash_completion.d/tidelog")]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Program::command(), "tidelog", &mut script);
        Ok(stdout().write_all(&script)?)
    }
}
