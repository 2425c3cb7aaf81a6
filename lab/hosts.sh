# How a lab's network and hosts are made: bridge and NAT, a host's identity, its disk
# over the common image, its boot. Sourced by up and reset, after lib.sh.
# shellcheck shell=bash

# ---- the network ---------------------------------------------------------------

uplink() { ip -4 route show default | awk '{for (i = 1; i < NF; i++) if ($i == "dev") {print $(i + 1); exit}}'; }

# A /24 that nothing on this machine knows, tried from one that the lab's name gives.
free_subnet() {
    local first n net
    first=$((16#$LAB_TAG % 250))
    for ((n = 0; n < 250; n++)); do
        net=10.213.$(((first + n) % 250 + 2))
        ip -4 -o addr | grep -F "inet $net." >/dev/null && continue
        ip -4 route | grep "^$net\." >/dev/null && continue
        # (promised to another lab that is being made)
        grep -qsx "$net" "$STATE_ROOT"/*/net4 && continue
        echo "$net"
        return
    done
    die "no free subnet in 10.213.0.0/16"
}

make_network() {
    lock_machine
    mount_cgroup2
    mkdir -p "$HOSTS"
    chmod 711 "$STATE"
    [ -s "$STATE/net4" ] || free_subnet >"$STATE/net4"
    [ -s "$STATE/net6" ] || echo "fd5d:${LAB_TAG:0:4}:${LAB_TAG:4:2}" >"$STATE/net6"
    if [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ]; then
        touch "$STATE_ROOT/ip_forward-was-off"
        echo 1 >/proc/sys/net/ipv4/ip_forward
    fi
    # Each host's systemd takes several of these, and they are counted for the whole machine: with the usual 128 the
    # units of the twentieth host fail.
    [ "$(cat /proc/sys/fs/inotify/max_user_instances)" -ge 1024 ] || echo 1024 >/proc/sys/fs/inotify/max_user_instances
    unlock_machine

    local net4 net6 mtu
    net4=$(cat "$STATE/net4") net6=$(cat "$STATE/net6")
    mtu=$(cat "/sys/class/net/$(uplink)/mtu" 2>/dev/null || echo 1500)
    [ "$mtu" -le 1500 ] || mtu=1500
    echo "$mtu" >"$STATE/mtu"
    if ! ip link show "$BRIDGE" >/dev/null 2>&1; then
        ip link add "$BRIDGE" type bridge stp_state 0 forward_delay 0
        ip addr add "$net4.1/24" dev "$BRIDGE"
        ip -6 addr add "$net6::1/64" dev "$BRIDGE" nodad
        ip link set "$BRIDGE" mtu "$mtu" up
    fi
    nft list table ip "$TABLE" >/dev/null 2>&1 || nft -f - <<NFT
table ip $TABLE {
    chain nat {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr $net4.0/24 ip daddr != $net4.0/24 masquerade
    }
}
NFT
    # Cut links are dropped where the bridge takes or gives a frame: the hosts see
    # silence, as with a dead line, and can do nothing about it.
    nft list table bridge "$TABLE" >/dev/null 2>&1 || nft -f - <<NFT
table bridge $TABLE {
    set host { type ifname; }
    set pair { type ifname . ifname; }
    set controller { type ifname; }
    chain from { type filter hook prerouting priority -300; policy accept; iifname @host drop; }
    chain to { type filter hook postrouting priority 300; policy accept; oifname @host drop; }
    chain between { type filter hook forward priority 0; policy accept; iifname . oifname @pair drop; }
    chain in { type filter hook input priority 0; policy accept; iifname @controller drop; }
    chain out { type filter hook output priority 0; policy accept; oifname @controller drop; }
}
NFT
    # Where iptables drops what is forwarded (Docker sets that), our bridge is let through.
    if command -v iptables >/dev/null && iptables -S FORWARD 2>/dev/null | grep '^-P FORWARD DROP' >/dev/null; then
        local way
        for way in -i -o; do
            iptables -C FORWARD $way "$BRIDGE" -j ACCEPT 2>/dev/null || iptables -I FORWARD $way "$BRIDGE" -j ACCEPT
        done
    fi
}

# Name servers as hosts of the lab can reach them.
name_servers() {
    local file servers=${DEPLOY_LAB_DNS:-}
    for file in /etc/resolv.conf /run/systemd/resolve/resolv.conf; do
        [ -n "$servers" ] && break
        servers=$(awk '$1 == "nameserver" && $2 !~ /^127\./ && $2 !~ /:/ {print $2}' "$file" 2>/dev/null)
    done
    [ -n "$servers" ] || { say "no name server here that hosts could reach: using 9.9.9.9 (DEPLOY_LAB_DNS sets another)"; servers=9.9.9.9; }
    printf 'nameserver %s\n' ${servers//,/ }
}

# ---- a host's identity: index (address, device names) and host keys ------------

define_host() {
    local dir=$HOSTS/$1 index other
    if [[ $1 =~ ^galera([1-9]|[1-5][0-9]|60)$ ]]; then
        index=${BASH_REMATCH[1]}
    else
        index=61
        # grep reads the files itself: one that ends at its first match would break a pipe before it, and two hosts
        # would have one address.
        while grep -qsx "$index" "$HOSTS"/*/index; do index=$((index + 1)); done
        [ "$index" -le 240 ] || die "too many hosts"
    fi
    mkdir -p "$dir/keys"
    [ -e "$dir/keys/ssh_host_ed25519_key" ] || ssh-keygen -q -t ed25519 -N '' -C "root@$1" -f "$dir/keys/ssh_host_ed25519_key"
    [ -e "$dir/keys/ssh_host_ecdsa_key" ] || ssh-keygen -q -t ecdsa -N '' -C "root@$1" -f "$dir/keys/ssh_host_ecdsa_key"
    touch "$dir/limits"
    echo "$index" >"$dir/index" # last: a host without it is not one yet
}

# ---- its disk ------------------------------------------------------------------

# Sets `image`. The builder is our direct child, so that it dies with us; only then is
# it asked where the image is.
get_image() {
    setpriv --pdeathsig KILL "$LAB_DIR/image" "$@" >/dev/null 9>&-
    image=$("$LAB_DIR/image" 9>&-)
}

# An empty layer over the image, with what makes this host itself. `image` is written
# last: a disk without it is half made and made anew.
new_disk() {
    local dir=$HOSTS/$1 image=$2
    unmount_below "$dir"
    rm -rf --one-file-system "$dir/upper" "$dir/work" "$dir/root" "$dir/limited" "$dir/image"
    mkdir -p "$dir/upper" "$dir/work" "$dir/root"
    mount_disk "$1" "$image"

    local root=$dir/root
    echo "$1" >"$root/etc/hostname"
    tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
    name_servers >"$root/etc/resolv.conf"
    cp -p "$dir"/keys/* "$root/etc/ssh/"
    install -d -m 700 "$root/home/deploy/.ssh"
    install -m 600 "$KEY.pub" "$root/home/deploy/.ssh/authorized_keys"
    chroot "$root" chown -R deploy:deploy /home/deploy/.ssh
    if asks_password "$1"; then echo 'deploy ALL=(ALL:ALL) ALL'; else echo 'deploy ALL=(ALL:ALL) NOPASSWD: ALL'; fi |
        install -m 440 /dev/stdin "$root/etc/sudoers.d/deploy"
    echo "$image" >"$dir/image"
}

mount_disk() {
    local dir=$HOSTS/$1 options="lowerdir=$2,upperdir=$HOSTS/$1/upper,workdir=$HOSTS/$1/work"
    mountpoint -q "$dir/root" && return
    # `volatile` makes every fsync free; a disk that lives as long as its lab needs none.
    rm -rf "$dir/work/work/incompat"
    mount -t overlay "lab-$LAB_TAG-$1" -o "$options,volatile" "$dir/root" 2>/dev/null ||
        mount -t overlay "lab-$LAB_TAG-$1" -o "$options" "$dir/root"
}

# ---- its boot ------------------------------------------------------------------

# A network namespace that outlives reboots, one end of a cable in it.
plug_in() {
    local ns veth index mac
    ns=$(host_netns "$1") veth=$(host_veth "$1") index=$(host_index "$1")
    mac=$(printf '52:54:%s:%s:%s:%02x' "${LAB_TAG:0:2}" "${LAB_TAG:2:2}" "${LAB_TAG:4:2}" "$index")
    ip netns list | grep -E "^$ns( |\$)" >/dev/null || ip netns add "$ns"
    # The kernel takes a namespace down in its own time: a cable of an earlier one may still be there, without its end.
    if ! ip -n "$ns" link show host0 >/dev/null 2>&1; then
        ip link del "$veth" 2>/dev/null || true
        ip link add "$veth" type veth peer name host0 netns "$ns" address "$mac"
        ip link set "$veth" mtu "$(cat "$STATE/mtu")" master "$BRIDGE" up
    fi
    ip netns exec "$ns" sh -c 'echo 0 >/proc/sys/net/ipv6/conf/host0/accept_ra'
    ip -n "$ns" addr replace "$(host_ip4 "$1")/24" dev host0
    ip -n "$ns" -6 addr replace "$(host_ip6 "$1")/64" dev host0 nodad
    ip -n "$ns" link set lo up
    ip -n "$ns" link set host0 mtu "$(cat "$STATE/mtu")" up
    ip -n "$ns" route replace default via "$(cat "$STATE/net4").1"
}

start_host() {
    local name=$1 dir=$HOSTS/$1 limit path at binds=() cg
    mount_disk "$name" "$(cat "$dir/image")"
    while IFS= read -r limit; do
        path=${limit%=*}
        at=$dir/limited/$(printf %s "$path" | tr / _)
        if ! mountpoint -q "$at"; then
            mkdir -p "$at" "$dir/root$path"
            mount -t tmpfs -o "size=${limit##*=},mode=$(stat -c %a "$dir/root$path")" "lab-$LAB_TAG-limit" "$at"
            [ "$path" != /tmp ] || chmod 1777 "$at"
        fi
        binds+=("--bind=$at:$path")
    done <"$dir/limits"
    plug_in "$name"

    local nspawn=(env SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network SYSTEMD_LOG_LEVEL=warning
        systemd-nspawn --quiet --boot --register=no --keep-unit
        "--directory=$dir/root" "--machine=dl-$LAB_TAG-$name" "--hostname=$name"
        "--network-namespace-path=/run/netns/$(host_netns "$name")"
        --capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_IPC_LOCK,CAP_SYS_NICE
        --link-journal=no --resolv-conf=off --timezone=off --console=pipe
        ${binds[@]+"${binds[@]}"})
    # nspawn says with status 133 that the host wants to boot again.
    rm -f "$dir/stop"
    if [ -d /run/systemd/system ]; then # the machine's systemd owns the cgroups: ask it for one
        systemd-run --quiet --collect --unit="$CGROUP-$name" --description="Lab $LAB_ID, host $name" --property=Delegate=yes --property=KillMode=mixed \
            --property=RestartForceExitStatus=133 --property=SuccessExitStatus=133 --property=RestartSec=0 \
            --property=StandardOutput="file:$dir/console.log" --property=StandardError="file:$dir/console.log" "${nspawn[@]}"
    else
        cg=$(cgroup2_root)/$CGROUP/$name
        mkdir -p "$cg"
        (
            echo $BASHPID >"$cg/cgroup.procs"
            exec setsid bash -c 'stop=$1; shift; while [ ! -e "$stop" ] && { "$@"; [ $? = 133 ]; }; do :; done' \
                lab-host "$dir/stop" "${nspawn[@]}" </dev/null >"$dir/console.log" 2>&1 9>&-
        ) &
    fi
}

# Waits until systemd says that the boot is over and sshd answers.
await_host() {
    local i state
    for ((i = 0; i < 600; i++)); do
        if [ -n "$(leader_pid "$1")" ]; then
            state=$(enter_in_time "$1" systemctl is-system-running 2>/dev/null || true)
            case $state in
            running | degraded)
                (exec 3<>"/dev/tcp/$(host_ip4 "$1")/22" && read -rt 5 <&3) 2>/dev/null && {
                    [ "$state" = running ] || say "warning: $1 has failed units: $(enter_in_time "$1" systemctl --failed --plain --no-legend | awk '{print $1}' | paste -sd' ')"
                    return
                }
                ;;
            esac
        elif [ "$i" -gt 50 ] && [ -z "$(nspawn_pids "$1")" ]; then
            tail -5 "$HOSTS/$1/console.log" >&2
            die "$1 ended while booting (log: $HOSTS/$1/console.log)"
        fi
        sleep 0.1
    done
    die "$1 did not finish booting (log: $HOSTS/$1/console.log)"
}

enter_in_time() { (enter_host "$1" timeout 5 "${@:2}"); }

# The hosts know each other by name, as if they shared a name server.
tell_names() {
    local host other
    for host in $(host_names); do
        [ -e "$HOSTS/$host/image" ] && mountpoint -q "$HOSTS/$host/root" || continue
        {
            printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n'
            for other in $(host_names); do echo "$(host_ip4 "$other") $other"; done
        } | if [ -e "$HOSTS/$host/hosts.told" ] && [ -n "$(leader_pid "$host")" ]; then
            # Only add: what a playbook wrote there stays.
            while read -r line; do grep -qxF "$line" "$HOSTS/$host/root/etc/hosts" || echo "$line" >>"$HOSTS/$host/root/etc/hosts"; done
        else
            cat >"$HOSTS/$host/root/etc/hosts"
        fi
        touch "$HOSTS/$host/hosts.told"
    done
}
