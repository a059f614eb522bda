//! `plot`: on a terminal, as SVG, as PNG, over ranges of any size.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{Ended, Place, end, on, tidelog};

/// Rows a second apart, whose values go up in a line from 0 to 100, each with its neighbour 1 below it; a NaN and a
/// null in the middle.
fn store(place: &Place) -> PathBuf {
    let dir = place.store("store");
    let mut input = String::from("t,value\n");
    for row in 0..20_000_u32 {
        let value = f64::from(row) / 200.0 - f64::from(row % 2);
        let value = match row {
            10_000 => "NaN".to_owned(),
            10_001 => String::new(),
            _ => value.to_string(),
        };
        input += &format!("{},{value}\n", 1_700_000_000 + row);
    }
    on("create", &dir, &["--column", "value:f64?", "--key-unit", "s"], b"").text();
    on("ingest", &dir, &[], input.as_bytes()).text();
    dir
}

fn plot(dir: &Path, arguments: &[&str], columns: &str) -> Ended {
    let all = [&["plot", dir.to_str().unwrap(), "--column", "value"], arguments].concat();
    let mut command = tidelog(all);
    command.env("COLUMNS", columns);
    end(command, b"")
}

/// What stands in `attribute` of the elements of one class.
fn attributes<'a>(svg: &'a str, class: &str, attribute: &str) -> Vec<&'a str> {
    let class = format!("class=\"{class}\"");
    let elements = svg.split(&class).skip(1).filter_map(|rest| rest.split("/>").next());
    let value = |element: &'a str| element.split(&format!("{attribute}=\"")).nth(1)?.split('"').next();
    elements.filter_map(value).collect()
}

fn points(text: &str) -> Vec<(f64, f64)> {
    let point = |point: &str| {
        let (x, y) = point.split_once(',').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    };
    text.split(' ').map(point).collect()
}

#[test]
fn a_terminal_shows_the_whole_range_in_its_columns() {
    let place = Place::new();
    let dir = store(&place);
    for columns in ["60", "120"] {
        let text = plot(&dir, &[], columns).text();
        assert_eq!(text, plot(&dir, &[], columns).text());
        let lines: Vec<&str> = text.lines().collect();
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap();
        assert_eq!((lines.len(), width), (18, columns.parse().unwrap()), "{text}");
        assert_eq!(lines[0], "value: mean, and least to greatest");
        assert!(
            lines[17].starts_with("2023-11-14T22:13:20Z ") && lines[17].ends_with(" 2023-11-15T03:46:39Z")
        );
        // It rises from the lower left to the upper right.
        let mark = |line: &str| line.chars().position(|c| !"0123456789.-│ └─".contains(c)).unwrap();
        assert!(mark(lines[2]) > mark(lines[8]) && mark(lines[8]) > mark(lines[14]), "{text}");
    }
    // Nobody can read fewer.
    let narrow = plot(&dir, &[], "1").text();
    assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
    let one = plot(&dir, &["--from", "1700000000", "--to", "1700000001"], "80").text();
    assert_eq!(one.lines().last().unwrap().trim(), "2023-11-14T22:13:20Z");
    assert_eq!(one.chars().filter(|c| ('\u{2801}'..='\u{28FF}').contains(c)).count(), 1, "{one}");
}

#[test]
fn an_svg_has_a_window_for_each_pixel() {
    let place = Place::new();
    let dir = store(&place);
    let out = place.store("value.svg");
    assert_eq!(plot(&dir, &["--out", out.to_str().unwrap()], "80").text(), "");
    let svg = fs::read_to_string(&out).unwrap();
    assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches('<').count(), svg.matches('>').count());
    for part in ["<title>value</title>", ">2023-11-14T22:13:20Z</text>", ">2023-11-15T03:46:39Z</text>"] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    // 20,000 rows a second apart in 1,060 pixels: windows of 19 seconds, at multiples of 19.
    let windows = 1_700_019_999 / 19 - 1_700_000_000 / 19 + 1;
    let envelope = points(attributes(&svg, "envelope", "points")[0]);
    assert_eq!(envelope.len(), 2 * windows);
    let (high, low) = envelope.split_at(windows);
    for ((x, high), (below, low)) in high.iter().zip(low.iter().rev()) {
        assert!(x == below && high < low && (120.0..=1180.0).contains(x), "{x}: {high} to {low}");
        assert!(*high >= 45.0 && *low <= 435.0);
    }
    // The window with the NaN has no mean, and parts the line.
    let means: Vec<usize> =
        attributes(&svg, "mean", "points").into_iter().map(|part| points(part).len()).collect();
    assert_eq!((means.len(), means.iter().sum::<usize>()), (2, windows - 1), "{means:?}");

    let words = plot(&dir, &["--out", out.to_str().unwrap()], "80").refused(3);
    assert!(words.contains("is there already; remove it"), "{words}");
    assert_eq!(fs::read_to_string(&out).unwrap(), svg);
    let words = plot(&dir, &["--out", place.store("no/value.svg").to_str().unwrap()], "80").refused(5);
    assert!(words.contains("could not write ") && words.contains("no/value.svg"), "{words}");
    assert_eq!(plot(&dir, &["--out", "value.gif"], "80").code, Some(2));
}

#[test]
fn a_png_is_an_image_of_the_same() {
    let place = Place::new();
    let dir = store(&place);
    let out = place.store("value.png");
    plot(&dir, &["--out", out.to_str().unwrap()], "80").text();
    let decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(&out).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height, info.color_type), (1200, 480, png::ColorType::Rgb));
    let pixel = |x: usize, y: usize| &pixels[(y * 1200 + x) * 3..][..3];
    let is_dark = |x: usize, y: usize| pixel(x, y).iter().all(|part| *part < 0x80);
    // A column with its mean, between the axis and the end of the line; and an axis, with nothing above the line.
    let height = |x: usize| (46..434).rev().find(|y| pixel(x, *y) != [0xFF; 3]).unwrap();
    assert!(height(300) > height(600) && height(600) > height(1_000));
    assert!((46..434).any(|y| !is_dark(400, y) && pixel(400, y) != [0xFF; 3]), "an envelope");
    assert!((46..434).any(|y| is_dark(400, y)), "a mean");
    assert!((121..1180).all(|x| is_dark(x, 435)) && (46..435).all(|y| is_dark(120, y)), "axes");
    assert!((0..110).any(|x| (428..442).any(|y| is_dark(x, y))), "a label");
    assert_eq!(pixel(1_190, 470), [0xFF; 3]);
}

#[test]
fn any_range_is_drawn_and_an_empty_one_refused() {
    let place = Place::new();
    let dir = place.store("store");
    on("create", &dir, &["--column", "value:f64?"], b"").text();
    let refused = |arguments: &[&str]| plot(&dir, arguments, "80").refused(4);
    assert!(refused(&[]).contains("no rows in this range: nothing to draw"));
    on("ingest", &dir, &[], b"t,value\n0,-1.7976931348623157e308\n7,inf\n8,NaN\n9,\n").text();
    on("ingest", &dir, &[], b"t,value\n18446744073709551615,1.7976931348623157e308\n").text();
    let text = plot(&dir, &[], "80").text();
    let ends = ["1.797693e308│", "-1.797693e308│"];
    assert!(ends.iter().all(|end| text.contains(end)) && text.contains("18446744073709551615\n"), "{text}");
    assert!(refused(&["--from", "8", "--to", "10"]).contains("no finite value in this range"));
    for empty in [["--from", "10", "--to", "12"], ["--from", "9", "--to", "3"], ["--from", "0", "--to", "0"]]
    {
        let out = place.store("empty.svg");
        let words = refused(&[&empty[..], &["--out", out.to_str().unwrap()]].concat());
        assert!(words.contains("no rows in this range") && !out.exists(), "{words}");
    }
    for name in ["all.svg", "all.png"] {
        plot(&dir, &["--out", place.store(name).to_str().unwrap()], "80").text();
    }
    assert!(!fs::read_to_string(place.store("all.svg")).unwrap().contains("NaN"));
}
