package caddysnake

// Every answer that Go gives in an app's place, and the status for each error.

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// statusClientClosedRequest is also the status that Caddy's reverse_proxy uses.
const statusClientClosedRequest = 499

// The client's fault.
var (
	errBadValue         = errors.New("the request can't name a python app")
	errNoApp            = errors.New("no such python app")
	errOtherLength      = errors.New("the request's Content-Length is not the length of its body")
	errBroken           = errors.New("request body cannot be read")
	errTooLarge         = errors.New("request body too large")
	errLongHead         = errors.New("the head of the request is longer than about 64 KiB")
	errWebSocketBody    = errors.New("websocket: a handshake has no body")
	errWebSocketKey     = errors.New("websocket: Sec-WebSocket-Key is not 16 bytes in base64")
	errWebSocketVersion = errors.New("websocket: only version 13 is supported")
	errExtendedConnect  = errors.New("extended CONNECT is not supported")
	errClientLeft       = errors.New("the client has left")
)

// The app's fault, or the server's.
var (
	errAppFailed    = errors.New("python application failed")
	errLoadFailed   = errors.New("could not be loaded")
	errNotLoaded    = errors.New("the changed python application could not be loaded; the log has the reason")
	errMisfit       = errors.New("a piece of the response does not fit into its buffer")
	errTimeout      = errors.New("python application did not respond within its request_timeout")
	errReplaced     = errors.New("python application was replaced or stopped before it responded")
	errTooManySlots = errors.New("out of memory for requests")
	errWorkerDied   = errors.New("the worker of the python application has ended")
)

// Another try may succeed soon.
var (
	errAllBusy    = errors.New("all python apps that max_apps allows are busy")
	errAppStopped = errors.New("the python app has been stopped")
	errAbandoned  = errors.New("too many requests that this client has left still run")
	errNoWorker   = errors.New("no worker of the python application runs")
)

// refusals maps errors to statuses. Other errors get 503.
var refusals = []struct {
	err        error
	status     int
	retryAfter string // in seconds; "": the header is not set
}{
	{errBadValue, http.StatusBadRequest, ""},
	{errNoApp, http.StatusNotFound, ""},
	{errOtherLength, http.StatusBadRequest, ""},
	{errBroken, http.StatusBadRequest, ""},
	{errTooLarge, http.StatusRequestEntityTooLarge, ""},
	{errLongHead, http.StatusRequestHeaderFieldsTooLarge, ""},
	{errWebSocketBody, http.StatusBadRequest, ""},
	{errWebSocketKey, http.StatusBadRequest, ""},
	{errWebSocketVersion, http.StatusUpgradeRequired, ""},
	{errExtendedConnect, http.StatusNotImplemented, ""},
	{errClientLeft, statusClientClosedRequest, ""},
	{errAppFailed, http.StatusInternalServerError, ""},
	{errLoadFailed, http.StatusInternalServerError, ""},
	{errNotLoaded, http.StatusInternalServerError, ""},
	{errMisfit, http.StatusInternalServerError, ""},
	{errTimeout, http.StatusGatewayTimeout, ""},
	{errReplaced, http.StatusServiceUnavailable, ""},
	{errTooManySlots, http.StatusServiceUnavailable, ""},
	{errWorkerDied, http.StatusBadGateway, ""},
	{errAllBusy, http.StatusServiceUnavailable, "1"},
	{errAppStopped, http.StatusServiceUnavailable, "1"},
	{errAbandoned, http.StatusServiceUnavailable, "1"},
	{errNoWorker, http.StatusServiceUnavailable, "1"},
}

// refuse returns the error with its status, for Caddy's error routes. It sets the
// answer's headers on w.
func refuse(w http.ResponseWriter, err error) error {
	for _, refusal := range refusals {
		if !errors.Is(err, refusal.err) {
			continue
		}
		if refusal.retryAfter != "" {
			w.Header().Set("Retry-After", refusal.retryAfter)
		}
		return caddyhttp.Error(refusal.status, err)
	}
	return caddyhttp.Error(http.StatusServiceUnavailable, err)
}

// loadFailure is the reason why an app has no generation.
type loadFailure struct {
	err  error
	when time.Time
}

func (f *loadFailure) Error() string { return f.err.Error() }

// refuse answers a request while the app has no generation.
func (a *App) refuse(w http.ResponseWriter, r *http.Request, err error) error {
	var failure *loadFailure
	if !errors.As(err, &failure) {
		return refuse(w, err)
	}
	if a.config.Debug && strings.Contains(r.Header.Get("Accept"), "text/html") {
		return failure.show(w)
	}
	return refuse(w, errNotLoaded)
}

// show writes an error page for the developer.
func (f *loadFailure) show(w http.ResponseWriter) error {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusInternalServerError)
	_, err := fmt.Fprintf(w, failurePage, html.EscapeString(f.Error()))
	return err
}

const failurePage = `<!DOCTYPE html>
<meta name="viewport" content="width=device-width">
<title>Python application failed to load</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
pre { overflow: auto; padding: 1rem; border-left: .3rem solid #c33; background: #8882; }
</style>
<h1>The changed application could not be loaded</h1>
<pre>%s</pre>
<p>The next change is loaded as soon as it is saved.</p>
`
