// SPDX-License-Identifier: Apache-2.0

package post

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const scopeFCM = "https://www.googleapis.com/auth/firebase.messaging"

// fcm is Firebase's HTTP v1 interface.
type fcm struct {
	url  string
	http *http.Client // signs in by itself
}

// CheckAccount says whether this is the file of a service account.
func CheckAccount(file []byte) error {
	_, err := newFCM(file, "", &http.Client{})
	return err
}

// newFCM reads the file of a service account.
func newFCM(file []byte, api string, plain *http.Client) (*fcm, error) {
	conf, err := google.JWTConfigFromJSON(file, scopeFCM)
	if err != nil {
		return nil, fmt.Errorf("service account: %w", err)
	}
	var more struct {
		Project string `json:"project_id"`
	}
	if err := json.Unmarshal(file, &more); err != nil || more.Project == "" {
		return nil, errors.New("service account: there is no project_id")
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, plain)
	signed := &http.Client{
		Timeout: plain.Timeout, CheckRedirect: plain.CheckRedirect,
		Transport: &oauth2.Transport{Base: plain.Transport, Source: conf.TokenSource(ctx)},
	}
	return &fcm{cmp.Or(api, "https://fcm.googleapis.com") + "/v1/projects/" + url.PathEscape(more.Project) + "/messages:send", signed}, nil
}

// A push is the message of the interface. Of a message for people, too, it has
// the high priority: with the other one Android keeps it until the phone is
// used, which is what it must not wait for.
type push struct {
	Message struct {
		Token   string            `json:"token"`
		Data    map[string]string `json:"data"`
		Android struct {
			Priority string `json:"priority"`
			TTL      string `json:"ttl"`
			Collapse string `json:"collapse_key"`
		} `json:"android"`
	} `json:"message"`
}

func (f *fcm) send(ctx context.Context, token string, k *kind) Outcome {
	var m push
	m.Message.Token, m.Message.Data = token, map[string]string{"wake": k.word}
	m.Message.Android.Priority, m.Message.Android.TTL, m.Message.Android.Collapse = "HIGH", strconv.Itoa(k.ttl)+"s", k.word
	b, err := json.Marshal(m)
	if err != nil {
		return Outcome{Gone: true}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(b))
	if err != nil {
		return Outcome{Again: true, Ours: true}
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := f.http.Do(req)
	if _, no := errors.AsType[*oauth2.RetrieveError](err); no {
		return Outcome{Again: true, Ours: true, After: oursWait}
	}
	out := judge(res, err)
	if err == nil && (res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden) {
		out.Ours, out.After = true, max(out.After, oursWait)
	}
	return out
}

// oursWait is how long we wait when it is our account that is refused.
const oursWait = 10 * time.Minute
