//! The tables of ARCHITECTURE.md that rules are read from. Each stands behind a comment that names it:
//! `<!-- floors: router -->`, `<!-- crates -->`, `<!-- homes -->`.

use std::collections::BTreeMap;

/// The rules that ARCHITECTURE.md sets.
#[derive(Debug)]
pub struct Architecture {
    /// The crates' own floors, by their names in the page.
    pub crates: Floors,
    /// The floors of modules, by crate.
    pub modules: BTreeMap<String, Floors>,
    pub homes: Homes,
}

/// The floor of each module or crate, by name. 0 is the lowest.
#[derive(Debug, Clone, Default)]
pub struct Floors(pub BTreeMap<String, u32>);

/// The modules that may import a heavy dependency: crates as code names them, and `crate` or
/// `crate::module`. A name that ends in `*` matches every name with that beginning.
#[derive(Debug, Default)]
pub struct Homes(pub Vec<(Vec<String>, Vec<String>)>);

impl Architecture {
    /// Reads the tables of the page.
    ///
    /// # Panics
    /// A row of a table of floors has no number.
    pub fn parse(page: &str) -> Self {
        let names = page.split("<!-- floors: ").skip(1).filter_map(|rest| rest.split(" -->").next());
        let modules = names.map(|name| (name.to_owned(), floors(page, &format!("<!-- floors: {name} -->"))));
        let homes = rows(page, "<!-- homes -->");
        Self {
            crates: floors(page, "<!-- crates -->"),
            modules: modules.collect(),
            homes: Homes(homes.iter().map(|row| (spans(&row[0]), spans(&row[1]))).collect()),
        }
    }
}

fn floors(page: &str, mark: &str) -> Floors {
    let mut floors = Floors::default();
    for row in rows(page, mark) {
        let floor =
            row[0].parse().unwrap_or_else(|_| panic!("{mark}: {:?} is not a floor: write a number", row[0]));
        floors.0.extend(spans(&row[1]).into_iter().map(|name| (name, floor)));
    }
    floors
}

/// The cells of the table below `mark`, without its head. Empty if the page has no such mark.
pub fn rows(page: &str, mark: &str) -> Vec<Vec<String>> {
    let Some((_, rest)) = page.split_once(mark) else { return Vec::new() };
    let lines = rest.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let lines = lines.take_while(|line| line.starts_with('|'));
    let cells = lines.map(|line| {
        let cells = line.trim().trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    });
    cells.collect()
}

/// The texts between backticks.
pub fn spans(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_by_their_marks() {
        let page = "x\n<!-- floors: a -->\n| floor | module | |\n|---|---|---|\n| 1 | `b`, `c` | d |\n| 0 | `e` | |\n\n\
            <!-- homes -->\n\n| | |\n|---|---|\n| `hyper` | `a::b` |\n";
        let architecture = Architecture::parse(page);
        let floors = &architecture.modules["a"];
        assert_eq!((floors.0["b"], floors.0["c"], floors.0["e"]), (1, 1, 0));
        assert_eq!(architecture.homes.0, [(vec!["hyper".to_owned()], vec!["a::b".to_owned()])]);
    }
}
