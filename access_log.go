package caddysnake

// What the access log says about a request's way through Python.

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// accessLogOf returns where further fields go; nil if the server has no access log.
func accessLogOf(r *http.Request) *caddyhttp.ExtraLogFields {
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil || server.Logs == nil {
		return nil
	}
	fields, _ := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	return fields
}

// log adds the fields of a request that ran for this time.
func (m *measurement) log(gen *generation, ran time.Duration) {
	m.access.Set(zap.String("python_app", gen.appLog.app))
	if !m.begun {
		return
	}
	if m.worker > 0 {
		m.access.Set(zap.Int("python_worker", m.worker))
	}
	m.access.Set(zap.Duration("python_queue", m.queued))
	m.access.Set(zap.Duration("python_time", ran))
}
