package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// ErrAddress is wrapped by the errors of downloads from an address that only this machine or its link can reach: loopback
// (127.0.0.0/8, ::1), link-local (169.254.0.0/16, fe80::/10), where hosts tell virtual machines their secrets, unspecified,
// multicast and broadcast. Private networks (10.0.0.0/8 and the like) are no reason: packs are kept there.
var ErrAddress = errors.New("nothing is fetched from there without --allow-private")

// guard returns why an address may not be dialled.
type guard func(netip.Addr) error

// control is called with each address that is dialled, after names were looked up: what a name means can change between a
// check and its use, and a redirect leads anywhere.
func (c *Client) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: %w", address, err)
	}
	return c.guard(to.Addr())
}

// metadata are the addresses at which cloud hosts tell secrets, beside the link-local ones.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254"), netip.MustParseAddr("100.100.100.200"),
}

var (
	broadcast   = netip.MustParseAddr("255.255.255.255")
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	// The networks whose addresses hold an IPv4 address, and where in them: NAT64, 6to4, IPv4-compatible.
	holdIPv4 = map[netip.Prefix]int{
		netip.MustParsePrefix("64:ff9b::/96"): 12, netip.MustParsePrefix("2002::/16"): 2, netip.MustParsePrefix("::/96"): 12,
	}
)

func refuse(addr netip.Addr) error {
	kind := kindOf(addr)
	if kind == "" {
		return nil
	}
	return fmt.Errorf("%s is a %s address: %w", addr, kind, ErrAddress)
}

// kindOf names the kind of an address that is refused, "" for others.
func kindOf(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	switch {
	case addr.IsLoopback():
		return "loopback"
	case addr.IsUnspecified(), thisNetwork.Contains(addr):
		return "unspecified"
	case addr.IsLinkLocalUnicast():
		return "link-local"
	case addr.IsMulticast():
		return "multicast"
	case addr == broadcast:
		return "broadcast"
	case slices.Contains(metadata, addr):
		return "metadata"
	}
	for network, at := range holdIPv4 {
		if network.Contains(addr) {
			inner := addr.As16()
			return kindOf(netip.AddrFrom4([4]byte(inner[at : at+4])))
		}
	}
	return ""
}
