package caddysnake

// The websocket option of the directive.

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/caddyserver/caddy/v2"
)

const (
	defaultMaxMessage = 16 << 20
	defaultPing       = 20 * time.Second
)

// WebSocketOptions holds limits and settings for websockets.
type WebSocketOptions struct {
	// MaxSize is the largest size of a message from a client, in bytes, after
	// inflation. A larger message closes the websocket with code 1009. Default:
	// 16777216 (16 MiB).
	MaxSize int64 `json:"max_size,omitempty"`

	// PingInterval is the interval between pings to a client. Negative: never.
	// Default: 20s.
	PingInterval caddy.Duration `json:"ping_interval,omitempty"`

	// PingTimeout is how long a client may take to answer a ping before the
	// websocket is closed. Default: 20s.
	PingTimeout caddy.Duration `json:"ping_timeout,omitempty"`

	// Compression allows permessage-deflate (RFC 7692). Default: true.
	Compression *bool `json:"compression,omitempty"`
}

// webSocketConfig is WebSocketOptions with the defaults filled in.
type webSocketConfig struct {
	MaxSize      int64
	PingInterval time.Duration // 0: never
	PingTimeout  time.Duration
	Compression  bool
}

// resolve checks the options and fills in the defaults.
func (o *WebSocketOptions) resolve() (webSocketConfig, error) {
	config := webSocketConfig{
		MaxSize: defaultMaxMessage, PingInterval: defaultPing, PingTimeout: defaultPing, Compression: true,
	}
	if o == nil {
		return config, nil
	}
	if o.MaxSize < 0 || o.PingTimeout < 0 {
		return config, errors.New("websocket: max_size and ping_timeout must be positive")
	}
	if o.MaxSize > math.MaxInt32 {
		return config, fmt.Errorf("websocket: max_size must be at most 2GiB, not %d bytes", o.MaxSize)
	}
	config.MaxSize = cmp.Or(o.MaxSize, config.MaxSize)
	config.PingInterval = max(0, cmp.Or(time.Duration(o.PingInterval), config.PingInterval))
	config.PingTimeout = cmp.Or(time.Duration(o.PingTimeout), config.PingTimeout)
	if o.Compression != nil {
		config.Compression = *o.Compression
	}
	return config, nil
}
