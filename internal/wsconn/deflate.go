package wsconn

// Compression of messages: permessage-deflate (RFC 7692).

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
	"github.com/klauspost/compress/flate"
)

// compressFrom is the minimum size of a message to compress.
const compressFrom = 256

// negotiateDeflate returns the answer to the first acceptable offer of
// permessage-deflate; it declines others (RFC 7692 section 7). A window per
// connection would cost more memory than it saves traffic.
func negotiateDeflate(offers []string) string {
	options, ok := httphead.ParseOptions([]byte(strings.Join(offers, ",")), nil)
	if !ok {
		return ""
	}
	for _, offer := range options {
		parameters := wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}
		// The compressor can't limit its window, but may accept the maximum.
		var offered wsflate.Parameters
		if offered.Parse(offer) == nil && offered.ServerMaxWindowBits == 15 {
			parameters.ServerMaxWindowBits = 15
		}
		extension := wsflate.Extension{Parameters: parameters}
		answer, err := extension.Negotiate(offer)
		if _, accepted := extension.Accepted(); err != nil || !accepted {
			continue
		}
		var text bytes.Buffer
		if _, err := httphead.WriteOptions(&text, []httphead.Option{answer}); err == nil {
			return text.String()
		}
	}
	return ""
}

var inflaters = sync.Pool{New: func() any {
	return wsflate.NewReader(nil, func(r io.Reader) wsflate.Decompressor {
		return resettable{flate.NewReader(r)}
	})
}}

// resettable has the Reset method that wsflate looks for.
type resettable struct{ io.ReadCloser }

func (f resettable) Reset(r io.Reader) {
	_ = f.ReadCloser.(flate.Resetter).Reset(r, nil) // always nil
}

// inflate appends the inflated message to buffer, if it is not larger than limit.
func inflate(buffer *bytes.Buffer, r io.Reader, limit int64) error {
	inflater := inflaters.Get().(*wsflate.Reader)
	defer inflaters.Put(inflater)
	source := &errorKeeper{Reader: r}
	inflater.Reset(source)
	n, err := buffer.ReadFrom(io.LimitReader(inflater, limit+1))
	switch {
	case source.err != nil:
		return source.err
	case err != nil:
		return errBadFlate
	case n > limit:
		return errTooBig
	}
	_, err = io.Copy(io.Discard, r) // skip an empty last fragment
	if err != nil && !errors.Is(err, wsutil.ErrNoFrameAdvance) {
		return err
	}
	return nil
}

// errorKeeper keeps the error of the reader below the decompressor.
type errorKeeper struct {
	io.Reader
	err error
}

func (k *errorKeeper) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		k.err = err
	}
	return n, err
}

var deflaters = sync.Pool{New: func() any {
	return wsflate.NewWriter(nil, func(w io.Writer) wsflate.Compressor {
		compressor, _ := flate.NewWriter(w, flate.BestSpeed) // the level is valid
		return compressor
	})
}}

func deflated(payload []byte) ([]byte, error) {
	deflater := deflaters.Get().(*wsflate.Writer)
	defer deflaters.Put(deflater)
	var compressed bytes.Buffer
	deflater.Reset(&compressed)
	if _, err := deflater.Write(payload); err != nil {
		return nil, err
	}
	if err := deflater.Flush(); err != nil {
		return nil, err
	}
	return compressed.Bytes(), nil
}
