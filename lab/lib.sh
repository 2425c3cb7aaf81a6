# What the lab's scripts share: where a lab's state is, how its hosts are named
# and addressed, how one is found, entered, stopped. Sourced, never run.
# shellcheck shell=bash
# With pipefail a `grep -q` behind a pipe is no test: it ends at its match, and whoever still writes dies of that. So greps
# read to the end, with their output thrown away.
set -euo pipefail
umask 022

LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
CHECKOUT=$(dirname "$LAB_DIR")

say() { printf 'lab: %s\n' "$*" >&2; }
die() { printf 'lab: error: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "the lab mounts disks and makes network devices: run $0 as root"

# A lab is the checkout it is run from, or the name in DEPLOY_LAB_NAME. All its
# devices, tables and mounts carry LAB_TAG, so that labs side by side never meet.
if [ -n "${DEPLOY_LAB_NAME:-}" ]; then
    [[ $DEPLOY_LAB_NAME =~ ^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$ ]] ||
        die "DEPLOY_LAB_NAME '$DEPLOY_LAB_NAME' must be letters, digits, - and _ (at most 40)"
    LAB_ID=$DEPLOY_LAB_NAME
else
    LAB_ID=$(basename "$CHECKOUT" | tr -cd 'A-Za-z0-9_-' | cut -c1-24)-$(printf %s "$CHECKOUT" | sha256sum | cut -c1-8)
fi
LAB_TAG=$(printf %s "$LAB_ID" | sha256sum | cut -c1-6)

CACHE=${DEPLOY_LAB_CACHE:-${XDG_CACHE_HOME:-/var/cache}/deploy-lab}
STATE_ROOT=${DEPLOY_LAB_STATE:-/var/lib/deploy-lab}
STATE=$STATE_ROOT/$LAB_ID
HOSTS=$STATE/hosts
BRIDGE=dl-$LAB_TAG
TABLE=deploy_lab_$LAB_TAG
KNOWN_HOSTS=$STATE/known_hosts
KEY=$STATE/id_ed25519
# Awkward on purpose: what carries it wrongly through a shell, YAML or a log shows at once.
LAB_PASSWORD='lab'\''pa"ss\wo$rd'
# On these hosts sudo asks for that password.
ASKING=${DEPLOY_LAB_SUDO_ASKS:-galera3}
# cgroup names may not hold what systemd reserves; a slice of our own keeps hosts apart.
CGROUP=deploy-lab-$LAB_TAG

# ---- the machine around the lab ------------------------------------------------

need_tools() {
    local missing=() pair
    for pair in systemd-nspawn:systemd-container debootstrap:debootstrap ip:iproute2 nft:nftables \
        ssh-keygen:openssh-client nsenter:util-linux setpriv:util-linux pgrep:procps xz:xz-utils \
        mount:mount; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null || die "missing here: ${missing[*]} (and no apt-get to install them)"
    say "installing ${missing[*]}"
    { DEBIAN_FRONTEND=noninteractive apt-get update -q &&
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"; } \
        >/tmp/deploy-lab-apt.log 2>&1 || { tail -5 /tmp/deploy-lab-apt.log >&2; die "apt-get failed, see /tmp/deploy-lab-apt.log"; }
}

# One job at a time changes a lab. The lock is let go by every long-lived child (9>&-).
lock_lab() {
    mkdir -p /run/lock
    exec 9>"/run/lock/deploy-lab-$LAB_TAG.lock"
    flock -w "${1:-300}" 9 || die "lab $LAB_ID is busy (another lab command runs)"
}

# Things all labs of a machine share (free subnets, ip_forward) are decided under this.
lock_machine() { exec 8>/run/lock/deploy-lab.lock; flock -w 300 8 || die "another lab is being made"; }
unlock_machine() { exec 8>&-; }

# Where cgroup v2 is mounted; hosts need it (a failed unit's stop never ends on v1).
cgroup2_root() {
    local dir
    for dir in /sys/fs/cgroup /sys/fs/cgroup/unified; do
        [ "$(stat -f -c %T "$dir" 2>/dev/null)" = cgroup2fs ] && { echo "$dir"; return; }
    done
    return 1
}

mount_cgroup2() {
    cgroup2_root >/dev/null && return
    mkdir -p "$STATE_ROOT"
    if mountpoint -q /sys/fs/cgroup; then # v1 controllers: beside them, as systemd's hybrid layout has it
        mkdir -p /sys/fs/cgroup/unified
        mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
        echo /sys/fs/cgroup/unified >"$STATE_ROOT/cgroup2-mounted"
    else
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        echo /sys/fs/cgroup >"$STATE_ROOT/cgroup2-mounted"
    fi
}

# ---- hosts ---------------------------------------------------------------------

host_names() { [ -d "$HOSTS" ] && find "$HOSTS" -mindepth 2 -maxdepth 2 -name index -printf '%h\n' | xargs -r -n1 basename | sort -V || true; }
host_index() { cat "$HOSTS/$1/index"; }
host_ip4() { echo "$(cat "$STATE/net4").$((10 + $(host_index "$1")))"; }
host_ip6() { printf '%s::%x\n' "$(cat "$STATE/net6")" $((16 + $(host_index "$1"))); }
host_veth() { echo "dl$LAB_TAG.$(host_index "$1")"; }
host_netns() { echo "dl-$LAB_TAG-$1"; }

need_host() {
    [ -e "$HOSTS/$1/index" ] || die "no host '$1' in lab $LAB_ID (it has: $(host_names | paste -sd' '))"
}

# Supervisor processes of a host (or of every host, without one), found by what they
# run on: true also when whoever started them was killed before noting anything.
nspawn_pids() {
    local pid want=--directory=$HOSTS/${1:-}
    for pid in $(pgrep -x systemd-nspawn || true); do
        # (a process may end between the two lines)
        tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -F -- "$want${1:+/root}" >/dev/null && echo "$pid"
    done
    return 0
}

# The host's init, as a process of this machine; nothing when it does not run.
leader_pid() {
    local supervisor child
    for supervisor in $(nspawn_pids "$1"); do
        for child in $(cat "/proc/$supervisor"/task/*/children 2>/dev/null); do
            if grep -qE '^NSpid:.*[[:space:]]1$' "/proc/$child/status" 2>/dev/null &&
                [ "$(cat "/proc/$child/comm" 2>/dev/null)" = systemd ]; then
                echo "$child"
                return
            fi
        done
    done
}

# Runs a command in the host, as root, by entering its namespaces: works when its
# network is cut or its sshd broken. The caller is replaced, so the exit status is the command's.
enter_host() {
    local host=$1 pid cg
    shift
    pid=$(leader_pid "$host")
    [ -n "$pid" ] || die "host $host of lab $LAB_ID does not run (lab/up starts it)"
    # Join init's own cgroup, so that what is left behind there ends with the host.
    cg=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
    echo $BASHPID >"$(cgroup2_root)$cg/cgroup.procs" 2>/dev/null || true
    exec nsenter --target "$pid" --mount --uts --ipc --net --pid --cgroup --root --wd -- \
        /usr/bin/env -i HOME=/root USER=root LOGNAME=root SHELL=/bin/bash TERM="${TERM:-dumb}" LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# Ends hosts as a power cut does: their disks are thrown away or kept by the caller.
kill_host() {
    local pid i pids
    touch "$HOSTS/$1/stop" # (no boot after this one)
    pids=$(nspawn_pids "$1")
    for pid in $(leader_pid "$1"); do kill -KILL "$pid" 2>/dev/null || true; done
    for i in $(seq 100); do
        pids=$(nspawn_pids "$1")
        [ -z "$pids" ] && break
        [ "$i" -lt 40 ] || kill -KILL $pids 2>/dev/null || true
        sleep 0.05
    done
    [ -z "$pids" ] || die "systemd-nspawn of $1 (process $pids) does not end"
    if [ -d /run/systemd/system ]; then systemctl stop "$CGROUP-$1.service" 2>/dev/null || true; fi
    remove_cgroups "$CGROUP/$1"
    rmdir "/run/systemd/nspawn/propagate/dl-$LAB_TAG-$1" 2>/dev/null || true
}

remove_cgroups() {
    local root dir i
    for root in $(findmnt -rno TARGET -t cgroup,cgroup2); do
        dir=$root/$1
        [ -d "$dir" ] || continue
        for i in 1 2 3 4 5 6 7 8 9 10; do
            find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true
            [ -d "$dir" ] || break
            sleep 0.1
        done
    done
}

# Unmounts whatever is mounted at or below a directory, deepest first.
unmount_below() {
    local target
    findmnt -rno TARGET | { grep -E "^$1(/|\$)" || true; } | tac | while read -r target; do
        umount "$target" 2>/dev/null || umount -l "$target"
    done
}

# ---- what is told to others ----------------------------------------------------

yaml_quote() { printf "'%s'" "${1//\'/\'\'}"; }

# Connection variables of one host, one "name: value" a line.
connection_vars() {
    echo "ansible_host: $(host_ip4 "$1")"
    echo "ansible_user: deploy"
    echo "ansible_ssh_private_key_file: $KEY"
    echo "ansible_ssh_common_args: '-o UserKnownHostsFile=$KNOWN_HOSTS -o StrictHostKeyChecking=yes'"
    echo "lab_ipv6: '$(host_ip6 "$1")'"
    if asks_password "$1"; then
        echo "ansible_become_password: $(yaml_quote "$LAB_PASSWORD")"
    fi
}

asks_password() { case " ${ASKING//,/ } " in *" $1 "*) ;; *) return 1 ;; esac; }

write_known_hosts() {
    local host
    for host in $(host_names); do
        local names
        names="$host,$(host_ip4 "$host"),$(host_ip6 "$host")"
        cut -d' ' -f1,2 "$HOSTS/$host"/keys/*.pub | sed "s/^/$names /"
    done >"$KNOWN_HOSTS.new"
    mv "$KNOWN_HOSTS.new" "$KNOWN_HOSTS"
}

write_inventory() {
    local host group
    {
        echo "# Lab $LAB_ID, written by lab/up; gone after lab/down."
        echo "all:"
        echo "  children:"
        for group in galera boxes; do
            echo "    $group:"
            echo "      hosts:"
            for host in $(host_names); do
                case $host in galera[0-9]*) [ $group = galera ] || continue ;; *) [ $group = boxes ] || continue ;; esac
                echo "        $host:"
                connection_vars "$host" | sed 's/^/          /'
            done
        done
    } >"$STATE/inventory.yml.new"
    mv "$STATE/inventory.yml.new" "$STATE/inventory.yml"
    chmod 600 "$STATE/inventory.yml"
}

# What a site must give and git must not have: an authority's store and its passphrase, and
# a password that is awkward on purpose. A lab makes its own once, and they end with it.
write_secrets() {
    [ -e "$STATE/pki-passphrase" ] || (umask 077 && od -An -tx1 -N24 /dev/urandom | tr -d ' \n' >"$STATE/pki-passphrase")
    mkdir -p "$STATE/group_vars/all"
    [ -e "$STATE/group_vars/all/lab.yml" ] || (
        umask 077
        {
            echo "# Written by lab/up for lab $LAB_ID, removed by lab/down. Not in git."
            echo "pki_store: $STATE/pki"
            echo "pki_passphrase_file: $STATE/pki-passphrase"
            echo "passbolt_db_password: $(yaml_quote "p'a\"ss\\wo\$rd-$(od -An -tx1 -N9 /dev/urandom | tr -d ' \n')")"
            echo "# The lab's machine may ask the nodes what their clients ask."
            echo "database_client_sources: [$(cat "$STATE/net4").1]"
        } >"$STATE/group_vars/all/lab.yml.new"
        mv "$STATE/group_vars/all/lab.yml.new" "$STATE/group_vars/all/lab.yml"
    )
}

# The checkout's own inventory (inventory/hosts.yml) learns where its hosts are
# from untracked files beside it.
write_host_vars() {
    local host dir
    [ -d "$CHECKOUT/inventory" ] || return 0
    for host in $(host_names); do
        dir=$CHECKOUT/inventory/host_vars/$host
        mkdir -p "$dir"
        { echo "# Written by lab/up for lab $LAB_ID, removed by lab/down. Not in git."
          connection_vars "$host"; } >"$dir/lab.yml"
        chmod 600 "$dir/lab.yml"
    done
    mkdir -p "$CHECKOUT/inventory/group_vars/all"
    install -m 600 "$STATE/group_vars/all/lab.yml" "$CHECKOUT/inventory/group_vars/all/lab.yml"
}

remove_host_vars() {
    local file
    for file in "$CHECKOUT"/inventory/{host_vars/*,group_vars/all}/lab.yml; do
        [ -e "$file" ] && grep -q "^# Written by lab/up for lab $LAB_ID," "$file" || continue
        rm -f "$file"
        rmdir "$(dirname "$file")" 2>/dev/null || true
    done
    rmdir "$CHECKOUT"/inventory/{host_vars,group_vars} 2>/dev/null || true
}
