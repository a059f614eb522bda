//! A figure as lines of characters: from least to greatest shaded, the mean a line of dots.
//!
//! Not here: what is drawn (`figure`).

use std::env;
use std::io::{IsTerminal, stdout};

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Rect};
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

use super::Figure;

/// Lines of the figure, without its title and the labels of its keys.
const LINES: u16 = 16;

/// Columns where nobody says how many there are, and how few and how many are used.
const COLUMNS: u16 = 80;
const COLUMNS_MIN: u16 = 40;
const COLUMNS_MAX: u16 = 400;

/// How many columns are drawn on: `COLUMNS`, or what the terminal has.
pub(crate) fn columns() -> u16 {
    let told = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = || {
        let out = stdout();
        let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(out).ok()).flatten();
        size.map(|size| size.ws_col).filter(|columns| *columns > 0)
    };
    told.or_else(seen).unwrap_or(COLUMNS).clamp(COLUMNS_MIN, COLUMNS_MAX)
}

/// Draws on so many columns.
pub(crate) fn draw(figure: &Figure, columns: u16) -> String {
    let heights = f64::from(2 * LINES);
    let shaded = |low: f64, high: f64| {
        let steps = (0..=2 * LINES).map(move |step| f64::from(step) / heights);
        [low, high].into_iter().chain(steps.filter(move |y| (low..=high).contains(y)))
    };
    let windows = &figure.windows;
    let envelope: Vec<(f64, f64)> =
        windows.iter().flat_map(|w| shaded(w.low, w.high).map(|y| (w.x, y))).collect();
    // A mean that is no number parts the line.
    let lines: Vec<Vec<(f64, f64)>> = windows
        .split(|window| window.mean.is_none())
        .map(|part| part.iter().filter_map(|window| Some((window.x, window.mean?))).collect())
        .collect();
    let shades =
        Dataset::default().marker(Marker::Custom('░')).graph_type(GraphType::Scatter).data(&envelope);
    let means = lines
        .iter()
        .map(|line| Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).data(line));
    let chart = Chart::new([shades].into_iter().chain(means).collect())
        .x_axis(Axis::default().bounds([0.0, 1.0]))
        .y_axis(
            Axis::default()
                .bounds([0.0, 1.0])
                .labels(figure.values.clone())
                .labels_alignment(Alignment::Right),
        );
    let area = Rect::new(0, 0, columns, LINES);
    let mut picture = Buffer::empty(area);
    chart.render(area, &mut picture);
    let mut text = format!("{}: mean, and least to greatest\n", figure.title);
    for row in 0..LINES {
        let cells = (0..columns).filter_map(|column| picture.cell((column, row)));
        let line: String = cells.map(|cell| cell.symbol()).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text + &keys(&figure.keys, columns)
}

/// As many of the labels as fit between the first and the last.
fn keys([first, middle, last]: &[String; 3], columns: u16) -> String {
    let room = usize::from(columns).saturating_sub(first.len() + last.len());
    if first == last {
        format!("{first:^width$}\n", width = usize::from(columns))
    } else if room >= middle.len() + 4 {
        format!("{first}{middle:^room$}{last}\n")
    } else if room >= 2 {
        format!("{first}{:room$}{last}\n", "")
    } else {
        format!("{first}\n{last:>width$}\n", width = usize::from(columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Drawn;

    fn squares(mean: impl Fn(u32) -> Option<f64>) -> Figure {
        let drawn = |step: u32| {
            let x = f64::from(step) / 99.0;
            Drawn { x, low: x * x / 2.0, high: x * x, mean: mean(step) }
        };
        Figure {
            title: "squares".into(),
            values: ["0", "50", "100"].map(str::to_owned),
            keys: ["10", "20", "30"].map(str::to_owned),
            windows: (0..100).map(drawn).collect(),
        }
    }

    fn count(text: &str, wanted: impl Fn(char) -> bool) -> usize {
        text.chars().filter(|c| wanted(*c)).count()
    }

    #[test]
    fn a_picture_has_its_ends_at_its_axes_and_something_between() {
        let is_dotted = |c| ('\u{2801}'..='\u{28FF}').contains(&c);
        let text = draw(&squares(|step| Some(f64::from(step * step) / 13_068.0)), 80);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (18, "squares: mean, and least to greatest"));
        assert!(lines[1].starts_with("100│") && lines[16].starts_with("  0│"), "{text}");
        assert!(lines[17].starts_with("10 ") && lines[17].contains(" 20 ") && lines[17].ends_with(" 30"));
        assert!(count(&text, is_dotted) > 60 && count(&text, |c| c == '░') > 100, "{text}");
        assert!(lines[1].ends_with('░'), "{text}");
        let parted = draw(&squares(|step| (step != 50).then_some(0.5)), 80);
        assert!(count(&parted, is_dotted) < count(&draw(&squares(|_| Some(0.5)), 80), is_dotted), "{parted}");
        assert_eq!(count(&draw(&squares(|_| None), 80), is_dotted), 0);
    }

    #[test]
    fn labels_of_keys_take_the_room_that_is_there() {
        let labels = |columns| keys(&["aaaa", "bbbb", "cccc"].map(str::to_owned), columns);
        assert_eq!(labels(20), "aaaa    bbbb    cccc\n");
        assert_eq!(labels(12), "aaaa    cccc\n");
        assert_eq!(labels(8), "aaaa\n    cccc\n");
        assert_eq!(keys(&["a", "a", "a"].map(str::to_owned), 5), "  a  \n");
    }
}
