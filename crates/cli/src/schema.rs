//! Columns as people write them: `NAME:KIND`, with a `?` where nulls are allowed.
//!
//! Not here: what a schema is (`tidelog::Schema`).

use std::str::FromStr;

use tidelog::{Column, ColumnId, Kind, Schema};

use crate::exit::Fault;

const KINDS: [Kind; 9] =
    [Kind::U64, Kind::I64, Kind::F64, Kind::U32, Kind::I32, Kind::F32, Kind::Bool, Kind::Bytes, Kind::Text];

/// A column on the command line.
#[derive(Clone, Debug)]
pub(crate) struct ColumnArgument(pub(crate) Column);

impl FromStr for ColumnArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A name may hold colons.
        let (name, kind) = text.rsplit_once(':').ok_or("a column is NAME:KIND, as in price:f64")?;
        let (kind, is_nullable) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
        let known = KINDS.into_iter().find(|known| known.to_string() == kind);
        let known = known.ok_or_else(|| {
            let kinds: Vec<String> = KINDS.iter().map(Kind::to_string).collect();
            format!("there is no kind `{kind}`; kinds are {}, with a `?` behind for nulls", kinds.join(", "))
        })?;
        let column = Column::new(name, known);
        Ok(Self(if is_nullable { column.nullable() } else { column }))
    }
}

/// The column of this name.
pub(crate) fn column(schema: &Schema, name: &str) -> Result<ColumnId, Fault> {
    schema.column(name).ok_or_else(|| {
        let known: Vec<&str> = schema.columns().iter().map(Column::name).collect();
        Fault::usage(format!("the store has no column `{name}`; it has {}", known.join(", ")))
    })
}

/// The columns of these names; all of them where none are named.
pub(crate) fn columns(schema: &Schema, names: Option<&[String]>) -> Result<Vec<ColumnId>, Fault> {
    let Some(names) = names else { return Ok((0..).map(ColumnId).take(schema.columns().len()).collect()) };
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let id = column(schema, name)?;
        if ids.contains(&id) {
            return Err(Fault::usage(format!("column `{name}` is asked for twice")));
        }
        ids.push(id);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelog::Nulls;

    #[test]
    fn a_column_is_a_name_a_kind_and_perhaps_nulls() {
        let column = |text: &str| text.parse::<ColumnArgument>().map(|argument| argument.0);
        let price = column("a:b:f32?").unwrap();
        assert_eq!((price.name(), price.kind(), price.nulls()), ("a:b", Kind::F32, Nulls::Allowed));
        assert_eq!(column("x:bytes").unwrap().nulls(), Nulls::Forbidden);
        assert!(column("x").unwrap_err().contains("NAME:KIND"));
        assert!(column("x:float").unwrap_err().contains("no kind `float`"));
    }
}
