package files

import (
	"bufio"
	"bytes"
	"errors"
	"image"
	"image/color"
	_ "image/gif" // decodes the first picture of one
	"image/jpeg"
	_ "image/png" // decodes
	"io"
	"os"
	"sync"

	"github.com/kith-im/kith/node/transfer"
)

// one makes previews one after the other: each may take maxDecoded of memory.
var one sync.Mutex

// previewOf makes a small JPEG of a picture, without anything that the picture said of itself but its pixels; nil: it is
// no picture, or one that is too large to be decoded. It reads the file from its beginning and goes back there.
func previewOf(f *os.File, size int64) ([]byte, error) {
	if size > maxPicture {
		return nil, nil
	}
	one.Lock()
	defer one.Unlock()
	small := shrink(io.NewSectionReader(f, 0, size))
	if small == nil {
		return nil, nil
	}
	for quality := 80; quality >= 20; quality -= 20 {
		var out bytes.Buffer
		if err := jpeg.Encode(&out, small, &jpeg.Options{Quality: quality}); err != nil {
			return nil, err
		}
		if out.Len() <= transfer.MaxPreview {
			return out.Bytes(), nil
		}
	}
	return nil, nil
}

// shrink decodes a picture if its header allows for it; nil: it does not, or the picture is damaged.
func shrink(r *io.SectionReader) image.Image {
	c, format, err := image.DecodeConfig(bufio.NewReader(r))
	if err != nil || !fits(c, costOf(r, format, c.ColorModel)) {
		return nil
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil
	}
	whole, _, err := image.Decode(bufio.NewReader(r))
	if err != nil {
		return nil
	}
	return scale(whole)
}

func fits(c image.Config, bytesEach int64) bool {
	if c.Width <= 0 || c.Height <= 0 || int64(c.Width) > maxPixels || int64(c.Height) > maxPixels {
		return false
	}
	pixels := int64(c.Width) * int64(c.Height)
	return pixels <= maxPixels && pixels*bytesEach <= maxDecoded
}

// costOf is how many bytes of memory a decoder takes for a pixel, at most.
func costOf(r *io.SectionReader, format string, m color.Model) int64 {
	switch {
	case format == "jpeg" && progressive(r):
		return 15 // three samples, and a coefficient of four bytes for each
	case format == "jpeg":
		return 3
	case format == "gif":
		return 2
	case m == color.GrayModel:
		return 2
	case m == color.RGBA64Model, m == color.NRGBA64Model:
		return 16
	}
	if _, ok := m.(color.Palette); ok {
		return 2
	}
	return 8 // and as much again for an interlaced one
}

// progressive looks for the frame header of a JPEG.
func progressive(r *io.SectionReader) bool {
	if _, err := r.Seek(2, io.SeekStart); err != nil {
		return true
	}
	in := bufio.NewReader(r)
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil || head[0] != 0xff {
			return true // who knows
		}
		switch marker := head[1]; {
		case marker >= 0xc0 && marker <= 0xc1:
			return false
		case marker >= 0xc2 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			return true
		}
		if skip := int(head[2])<<8 | int(head[3]); skip < 2 || discard(in, skip-2) != nil {
			return true
		}
	}
}

func discard(in *bufio.Reader, n int) error {
	got, err := in.Discard(n)
	if err == nil && got != n {
		err = errors.New("files: short")
	}
	return err
}

// scale makes a picture at most previewSide wide and high: each new pixel is the mean of the old ones that it covers,
// on white where they are transparent.
func scale(src image.Image) image.Image {
	b := src.Bounds()
	w, h := b.Dx(), b.Dy()
	side := max(w, h)
	nw, nh := w, h
	if side > previewSide {
		nw, nh = max(1, w*previewSide/side), max(1, h*previewSide/side)
	}
	out := image.NewRGBA(image.Rect(0, 0, nw, nh))
	for y := range nh {
		for x := range nw {
			x0, x1 := b.Min.X+x*w/nw, b.Min.X+max((x+1)*w/nw, x*w/nw+1)
			y0, y1 := b.Min.Y+y*h/nh, b.Min.Y+max((y+1)*h/nh, y*h/nh+1)
			out.SetRGBA(x, y, mean(src, x0, y0, x1, y1))
		}
	}
	return out
}

// mean samples at most 8 by 8 points, so that the largest picture takes no longer than a small one.
func mean(src image.Image, x0, y0, x1, y1 int) color.RGBA {
	var r, g, b, n uint64
	for y := y0; y < y1; y += max(1, (y1-y0)/8) {
		for x := x0; x < x1; x += max(1, (x1-x0)/8) {
			cr, cg, cb, ca := src.At(x, y).RGBA()
			white := uint64(0xffff - ca)
			r, g, b, n = r+uint64(cr)+white, g+uint64(cg)+white, b+uint64(cb)+white, n+1
		}
	}
	return color.RGBA{R: uint8(r / n >> 8), G: uint8(g / n >> 8), B: uint8(b / n >> 8), A: 0xff}
}
