//! `adit audit query`: the records that match, as a table or as JSON.

use std::collections::VecDeque;

use adit_audit::Numbered;
use serde_json::{Value, json};

use super::Folder;
use super::filter::{self, Filter};
use crate::ending::Failure;
use crate::output::{Output, Table};
use crate::plane::shown::plain;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    filter: Filter,
    /// At most so many, the newest ones
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

pub(crate) fn run(args: &Args, output: Output) -> Result<(), Failure> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut found: VecDeque<Vec<u8>> = VecDeque::new();
    let mut more = 0_u64;
    let unread = args.filter.walk(&args.folder.dir, |line, _| {
        if found.len() == limit {
            found.pop_front();
            more += 1;
        }
        found.push_back(line.to_vec());
        Ok(())
    })?;
    let values: Vec<Value> = if output.is_json() {
        found.iter().map(|line| filter::value(line)).collect()
    } else {
        Vec::new()
    };
    output.result(table(&found), &json!(values));
    if more > 0 {
        output.hint(format_args!(
            "{more} older records match too; raise --limit or ask more narrowly"
        ));
    }
    if unread > 0 {
        output.hint(format_args!(
            "{unread} lines could not be read; `adit audit verify` says where"
        ));
    }
    Ok(())
}

fn table(found: &VecDeque<Vec<u8>>) -> Table {
    let mut table = Table::new([
        "TIME", "RECORD", "OUTCOME", "WHY", "CALLER", "REQUEST", "ID",
    ]);
    for line in found {
        if let Ok(numbered) = adit_audit::read_line(line) {
            table.row(row(&numbered).map(|cell| plain(&cell)));
        }
    }
    table
}

fn row(numbered: &Numbered<'_>) -> [String; 7] {
    let [
        _,
        time,
        record,
        outcome,
        reason,
        _,
        caller,
        system,
        method,
        path,
        _,
        id,
        from,
        _,
        _,
    ] = filter::cells(numbered);
    // Who has not proven who he is, is known by his address.
    let caller = if caller.is_empty() { from } else { caller };
    let request = match (method.is_empty(), system.is_empty()) {
        (_, true) => String::new(),
        (true, false) => format!("tcp://{system}"),
        (false, false) => format!("{method} http://{system}{path}"),
    };
    [time, record, outcome, reason, caller, request, id]
}
