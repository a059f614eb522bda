//! A range of a column as a picture of characters.
//!
//! Not here: which range (`demo`).

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

const WIDTH: u16 = 78;
const HEIGHT: u16 = 16;

/// Points that fit the picture: two side by side in a character.
pub(super) const POINTS: usize = 2 * WIDTH as usize;

/// Draws points whose first parts rise, with a line above and labels at the axes; lines of text.
pub(super) fn draw(title: &str, points: &[(f64, f64)]) -> String {
    let ends = |part: fn(&(f64, f64)) -> f64| {
        let parts = points.iter().map(part);
        parts.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], part| [low.min(part), high.max(part)])
    };
    let (x, y) = (ends(|point| point.0), ends(|point| point.1));
    let labels =
        |ends: [f64; 2]| [ends[0], f64::midpoint(ends[0], ends[1]), ends[1]].map(|end| format!("{end:.2}"));
    let line = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).data(points);
    let chart = Chart::new(vec![line])
        .x_axis(Axis::default().bounds(x).labels(labels(x)))
        .y_axis(Axis::default().bounds(y).labels(labels(y)));
    let area = Rect::new(0, 0, WIDTH, HEIGHT);
    let mut picture = Buffer::empty(area);
    chart.render(area, &mut picture);
    let mut text = format!("{title}\n");
    for row in 0..HEIGHT {
        let cells = (0..WIDTH).filter_map(|column| picture.cell((column, row)));
        let line: String = cells.map(|cell| cell.symbol()).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_ends_at_its_axes_and_something_between() {
        let points: Vec<(f64, f64)> = (0..100).map(|x| (f64::from(x), f64::from(x * x))).collect();
        let text = draw("squares", &points);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (1 + usize::from(HEIGHT), "squares"));
        assert!(lines[1].starts_with("9801.00") && text.contains("4900.50"), "{text}");
        assert!(lines[lines.len() - 1].contains("99.00"), "{text}");
        let dots = |line: &str| line.chars().filter(|c| ('\u{2801}'..='\u{28FF}').contains(c)).count();
        assert!(lines.iter().map(|line| dots(line)).sum::<usize>() > 30, "{text}");
    }
}
