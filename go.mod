module sotto

go 1.26.0

require (
	charm.land/bubbles/v2 v2.2.1 // input and lists of the chat screen
	charm.land/bubbletea/v2 v2.1.1 // the chat screen
	charm.land/lipgloss/v2 v2.0.6 // colours and borders of the chat screen
	filippo.io/edwards25519 v1.2.0 // XEdDSA and key forms of OMEMO
	github.com/BurntSushi/toml v1.6.0 // configuration
	github.com/SherClockHolmes/webpush-go v1.4.0 // Web Push: encryption and signature
	github.com/alecthomas/kong v1.17.0 // command lines
	github.com/charmbracelet/colorprofile v0.4.3 // colours that a terminal has
	github.com/charmbracelet/x/ansi v0.11.9 // widths of what is drawn
	github.com/coder/websocket v1.8.15 // the other end of WebSockets, in tests
	github.com/xdg-go/scram v1.4.0 // SCRAM, both ends
	github.com/xdg-go/stringprep v1.0.4 // passwords, as SCRAM prepares them
	github.com/zalando/go-keyring v0.2.8 // the key of a vault in the OS keyring
	go.etcd.io/bbolt v1.5.0 // the store and the vault
	golang.org/x/crypto v0.58.0 // the vault: Argon2id, XChaCha20-Poly1305
	golang.org/x/net v0.62.0 // a name server for tests
	golang.org/x/oauth2 v0.36.0 // Firebase: signing in as a service account
	golang.org/x/term v0.47.0 // passwords that are not shown
	golang.org/x/time v0.16.0 // budgets
	mellium.im/xmpp v0.22.0 // preparation of addresses
	rsc.io/qr v0.2.0 // invitations as QR codes
)

require (
	cloud.google.com/go/compute/metadata v0.3.0 // indirect
	github.com/atotto/clipboard v0.1.4 // indirect
	github.com/charmbracelet/ultraviolet v0.0.0-20261008173134-6b8d4baf91b4 // indirect
	github.com/charmbracelet/x/term v0.2.2 // indirect
	github.com/charmbracelet/x/termios v0.1.1 // indirect
	github.com/charmbracelet/x/windows v0.2.2 // indirect
	github.com/clipperhouse/displaywidth v0.11.0 // indirect
	github.com/clipperhouse/uax29/v2 v2.7.0 // indirect
	github.com/danieljoos/wincred v1.2.3 // indirect
	github.com/godbus/dbus/v5 v5.2.2 // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/lucasb-eyer/go-colorful v1.4.1 // indirect
	github.com/mattn/go-runewidth v0.0.30 // indirect
	github.com/muesli/cancelreader v0.2.2 // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	github.com/xo/terminfo v1.0.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	mellium.im/reader v0.1.0 // indirect
	mellium.im/xmlstream v0.15.4 // indirect
)
