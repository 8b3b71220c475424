// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"sync"
	"time"

	"sotto/relay"
	"sotto/xmpp"
)

// Options are the settings of the service; zero values are defaults.
type Options struct {
	Domain string // default: pubsub. and the server's own
}

// A broker keeps the nodes of all places.
type broker struct {
	s    *relay.Server
	host place // the service

	mu    sync.Mutex
	caps  map[string]map[string]bool           // verified hash -> nodes wanted
	wants map[*relay.Session]map[string]bool   // nodes that a session wants to hear of
	met   map[*relay.Session]map[xmpp.JID]bool // of another server: whose last items it has had

	listMu sync.Mutex
	list   []string // nodes of the service, sorted

	dueMu sync.Mutex
	due   map[spot]time.Time // when items of a node end
}

// A place is where nodes are: an account's own, or the service.
type place struct {
	jid   xmpp.JID
	owner string // of the records
	pep   bool
}

// A wish is one request at a place.
type wish struct {
	place
	from   xmpp.JID // full
	typ    string
	pubsub *xmpp.Element // <pubsub/>
	el     *xmpp.Element // the verb in it
	node   string
	errand *relay.Errand // at the service
	after  []func()      // what follows the answer
}

// Add registers the family.
func Add(s *relay.Server, o Options) error {
	_, err := add(s, o)
	return err
}

func add(s *relay.Server, o Options) (*broker, error) {
	b := &broker{s: s, due: map[spot]time.Time{}, caps: map[string]map[string]bool{}, wants: map[*relay.Session]map[string]bool{}, met: map[*relay.Session]map[xmpp.JID]bool{}}
	b.addPEP()
	s.OnPresence(b.presence)
	s.OnGone(b.gone)
	s.OnRevive(b.revive)
	s.OnArrival(b.arrival)
	s.OnDeparted(b.gone)
	s.Store().Chore(b.prune)
	if err := b.addHost(o); err != nil {
		return nil, err
	}
	s.Go(b.findExpiring)
	return b, nil
}

type verb func(b *broker, w *wish) (*xmpp.Element, error)

// verbs by type, namespace and name.
var verbs = map[string]verb{
	"set " + xmpp.NSPubsub + " create":         (*broker).create,
	"set " + xmpp.NSPubsub + " publish":        (*broker).publish,
	"set " + xmpp.NSPubsub + " retract":        (*broker).retract,
	"get " + xmpp.NSPubsub + " items":          (*broker).items,
	"set " + xmpp.NSPubsub + " subscribe":      (*broker).subscribe,
	"set " + xmpp.NSPubsub + " unsubscribe":    (*broker).unsubscribe,
	"get " + xmpp.NSPubsub + " subscriptions":  (*broker).subscriptions,
	"get " + xmpp.NSPubsub + " affiliations":   (*broker).affiliations,
	"get " + xmpp.NSPubsub + " options":        (*broker).showOptions,
	"set " + xmpp.NSPubsub + " options":        (*broker).setOptions,
	"get " + xmpp.NSPubsub + " default":        (*broker).showDefaultOptions,
	"get " + xmpp.NSPubsubOwner + " configure": (*broker).showConfig,
	"set " + xmpp.NSPubsubOwner + " configure": (*broker).setConfig,
	"get " + xmpp.NSPubsubOwner + " default":   (*broker).showDefault,
	"set " + xmpp.NSPubsubOwner + " delete":    (*broker).remove,
	"set " + xmpp.NSPubsubOwner + " purge":     (*broker).purge,

	"get " + xmpp.NSPubsubOwner + " subscriptions": (*broker).subscribers,
	"set " + xmpp.NSPubsubOwner + " subscriptions": (*broker).setSubscribers,
	"get " + xmpp.NSPubsubOwner + " affiliations":  (*broker).affiliated,
	"set " + xmpp.NSPubsubOwner + " affiliations":  (*broker).setAffiliated,
}

// nodeless verbs are about the place as a whole when they name no node.
var nodeless = map[string]bool{"create": true, "default": true, "subscriptions": true, "affiliations": true}

// do finds the verb among the children of <pubsub/>.
func (b *broker) do(w *wish) (*xmpp.Element, error) {
	for _, k := range w.pubsub.Children() {
		f := verbs[w.typ+" "+k.Name.Space+" "+k.Name.Local]
		if f == nil {
			continue
		}
		w.el, w.node = k, k.Get("node")
		free := nodeless[k.Name.Local] && (k.Name.Space == xmpp.NSPubsub || k.Name.Local == "default")
		if w.node == "" && !free || len(w.node) > nameMax {
			return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(fault("nodeid-required"))
		}
		return f(b, w)
	}
	return nil, xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented).With(fault("unsupported"))
}

// fault is a condition of XEP-0060 §11.
func fault(name string) *xmpp.Element { return xmpp.El(xmpp.NSPubsubErrors, name) }

func notFound() error { return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound) }

func forbidden() error { return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden) }

func answer(space string, kids ...*xmpp.Element) *xmpp.Element {
	return xmpp.El(space, "pubsub").Add(kids...)
}
