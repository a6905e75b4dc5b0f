//! The case that started it: `NtQueryAttributesFile` on a DFS path. The DFS client needs a referral, for the referral a
//! connection, and opens IPC$ for it inside the create, on the same thread.

use std::path::Path;

use protocol::NtStatus;

use super::{Scenario, files};
use crate::backend::{Environment, Machine, Setup, Stopped};
use crate::model::Open;

/// Where the redirector waits for the connection: the newest frame of the published stack.
const WAITING: &str = "nt!KiSwapContext";

const NAMESPACE: &str = "corp";
const ROOT: &str = "public";
const LINK: &str = "projects";
const FILE: &str = "plan.txt";

pub(super) struct Dfs;

impl Scenario for Dfs {
    fn prepare(&self, folder: &Path, setup: &mut Setup) -> Result<(), Environment> {
        files::file(folder, FILE)?;
        setup.shares.push((
            files::SERVER.to_owned(),
            files::SHARE.to_owned(),
            folder.to_owned(),
        ));
        setup
            .dfs_links
            .push([NAMESPACE, ROOT, LINK, files::SERVER, files::SHARE].map(str::to_owned));
        setup.list_stack_at.push(WAITING.to_owned());
        Ok(())
    }

    fn play(&self, machine: &mut dyn Machine, opens: &mut Vec<Open>) -> Result<(), Stopped> {
        let name = format!(r"\??\UNC\{NAMESPACE}\{ROOT}\{LINK}\{FILE}");
        opens.push(Open {
            name: name.clone(),
            status: None,
            expected: NtStatus::SUCCESS,
        });
        let returned = machine.query_attributes(&name)?;
        if let Some(open) = opens.last_mut() {
            open.status = Some(returned.status);
        }
        Ok(())
    }
}
