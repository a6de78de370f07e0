# SPDX-License-Identifier: Apache-2.0
# Makes root.tar in the current directory: Debian's busybox as a whole userland.
mkdir -p root/bin root/etc root/tmp root/proc root/sys root/dev root/var
cp /bin/busybox root/bin/
for applet in $(/bin/busybox --list); do [ "$applet" = busybox ] || ln -sf busybox "root/bin/$applet"; done
printf 'root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000::/:/bin/sh\n' >root/etc/passwd
printf 'root:x:0:\nu:x:1000:\n' >root/etc/group
tar -C root -cf root.tar .
