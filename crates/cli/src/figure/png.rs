//! A figure as PNG.
//!
//! Not here: what is drawn (`figure`), drawing lines and letters (`embedded-graphics`), the format (`png`).

use std::convert::Infallible;

use anyhow::Result;
use embedded_graphics::Drawable;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Size};
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_9X15;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::{Pixel, Point, Primitive, RgbColor, WebColors};
use embedded_graphics::primitives::{Line, PrimitiveStyle};
use embedded_graphics::text::{Alignment, Baseline, Text};

use super::{BOTTOM, Drawn, Figure, HEIGHT, LEFT, RIGHT, TOP, WIDTH};

/// Draws it; the bytes of a file.
pub(crate) fn draw(figure: &Figure) -> Result<Vec<u8>> {
    let mut image = Image { pixels: vec![0xFF; (WIDTH * HEIGHT * 3) as usize] };
    figure.windows.iter().try_for_each(|window| image.envelope(window, window))?;
    for pair in figure.windows.windows(2) {
        image.envelope(&pair[0], &pair[1])?;
    }
    // A mean that is no number parts the line.
    for part in figure.windows.split(|window| window.mean.is_none()) {
        let means: Vec<Point> =
            part.iter().filter_map(|window| Some(point(window.x, window.mean?))).collect();
        if let [one] = means.as_slice() {
            image.line(*one, *one, Rgb888::CSS_MIDNIGHT_BLUE, 3)?;
        }
        for pair in means.windows(2) {
            image.line(pair[0], pair[1], Rgb888::CSS_MIDNIGHT_BLUE, 2)?;
        }
    }
    image.axes(figure)?;
    image.encode()
}

/// Where a place of the figure is in the picture.
#[expect(clippy::cast_possible_truncation, reason = "the picture is smaller than that")]
fn point(x: f64, y: f64) -> Point {
    let (width, height) = (f64::from(WIDTH - LEFT - RIGHT), f64::from(HEIGHT - TOP - BOTTOM));
    let (x, y) = (f64::from(LEFT) + x * width, f64::from(TOP) + (1.0 - y) * height);
    Point::new(x.round() as i32, y.round() as i32)
}

/// Three bytes a pixel, line by line.
struct Image {
    pixels: Vec<u8>,
}

impl OriginDimensions for Image {
    fn size(&self) -> Size {
        Size::new(WIDTH, HEIGHT)
    }
}

impl DrawTarget for Image {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(Point { x, y }, color) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { continue };
            if x < WIDTH && y < HEIGHT {
                let at = (y * WIDTH + x) as usize * 3;
                self.pixels[at..at + 3].copy_from_slice(&[color.r(), color.g(), color.b()]);
            }
        }
        Ok(())
    }
}

impl Image {
    fn line(&mut self, from: Point, to: Point, color: Rgb888, width: u32) -> Result<(), Infallible> {
        Line::new(from, to).into_styled(PrimitiveStyle::with_stroke(color, width)).draw(self)
    }

    /// What lies between least and greatest, from one window to another.
    fn envelope(&mut self, from: &Drawn, to: &Drawn) -> Result<(), Infallible> {
        let ends = |window: &Drawn| (point(window.x, window.low), point(window.x, window.high));
        let ((low, high), (next_low, next_high)) = (ends(from), ends(to));
        let across = (next_low.x - low.x).max(1);
        for x in low.x..=next_low.x {
            let between = |from: i32, to: i32| from + (to - from) * (x - low.x) / across;
            let (low, high) = (between(low.y, next_low.y), between(high.y, next_high.y));
            self.line(Point::new(x, low), Point::new(x, high), Rgb888::CSS_LIGHT_BLUE, 1)?;
        }
        Ok(())
    }

    fn axes(&mut self, figure: &Figure) -> Result<(), Infallible> {
        let (corner, middle, end) = (point(0.0, 0.0), point(0.5, 0.5), point(1.0, 1.0));
        self.line(corner, Point::new(corner.x, end.y), Rgb888::BLACK, 1)?;
        self.line(corner, Point::new(end.x, corner.y), Rgb888::BLACK, 1)?;
        let title = format!("{}: mean, and least to greatest", figure.title);
        self.text(&title, Point::new(corner.x, end.y / 2), Alignment::Left)?;
        for (label, y) in figure.values.iter().zip([corner.y, middle.y, end.y]) {
            self.text(label, Point::new(corner.x - 8, y), Alignment::Right)?;
        }
        let places = [(corner.x, Alignment::Left), (middle.x, Alignment::Center), (end.x, Alignment::Right)];
        let keys = if figure.keys[0] == figure.keys[2] { 1..2 } else { 0..3 };
        for (label, (x, alignment)) in figure.keys[keys.clone()].iter().zip(&places[keys]) {
            self.text(label, Point::new(*x, corner.y + 18), *alignment)?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str, at: Point, alignment: Alignment) -> Result<(), Infallible> {
        let style = MonoTextStyle::new(&FONT_9X15, Rgb888::BLACK);
        let mut text = Text::with_baseline(text, at, style, Baseline::Middle);
        text.text_style.alignment = alignment;
        text.draw(self).map(|_| ())
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(bytes)
    }
}
