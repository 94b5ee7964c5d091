# A QEMU with AF_PACKET socket chardevs: from the patches and new files here to
# a binary, its demos and its tests.  "make" alone lists what there is to make.

export QEMU = $(CURDIR)/build/qemu-system-x86_64
SECONDS = 600

help:
	@echo 'Show it:'
	@echo '  make demo            QEMU as the wire between two network namespaces'
	@echo '  make demo-guest      what a Linux guest sends and receives, in tcpdump'
	@echo '  make demo-recipes    the recipes of the manual, as they are written there'
	@echo '  make demo-libvirt    a libvirt domain that gets its packet sockets from virsh'
	@echo '  make demo-switchover a guest that migrates under traffic, without and with a handover'
	@echo '                       (RUNS=10 OUTPUT=folder: so many runs each way, a table and a chart)'
	@echo '  make demo-vhost      what passes the tap of a guest with vhost-net'
	@echo 'Test it:'
	@echo '  make check           the tests of the series, and those of QEMU that it touches'
	@echo '  make check-asan      those of the series with AddressSanitizer, LeakSanitizer and UBSan'
	@echo '  make check-kernels   those of the series on Linux 5.10 to 7, in virtual machines'
	@echo '                       (KERNELS="5.10 6.1", TESTS=test-channel-af-packet-*: less of it)'
	@echo '  make check-vhost     guests with vhost-net, here or in a virtual machine that has it; SHORT=1'
	@echo '  make fuzz            the fuzzer for ten minutes; SECONDS=30 for less'
	@echo '  make soak            ten minutes of numbered frames and broken links; SECONDS=60 for less'
	@echo '  make each-commit     build and test the series commit by commit'
	@echo '  make configurations  build what it touches in other configurations of QEMU'
	@echo '  make bench           CPU time per frame, latency, losses; against relays and bare loops'
	@echo 'Build it:'
	@echo '  make qemu            build/qemu-system-x86_64, and af-packet-exec'
	@echo '  make docs            the manual of this QEMU, as web pages and man pages: manual/'
	@echo 'Change it:'
	@echo '  make tree            tree/, a git tree of QEMU with the series as commits'
	@echo '  make export          write the commits in tree/ back to the patches and new files here'
	@echo '  make series          write complete mails to series/, for "git am" in another QEMU tree'
	@echo '  make clean           remove what all of these made here'
	@echo
	@echo 'QEMU_SRC=path    take the QEMU source in path: a git checkout or an unpacked release'
	@echo 'BASE=version     for that QEMU, instead of the first that the file "base" names'

demo: packages-demo qemu
	@demo/wire

demo-guest: packages-guest qemu
	@dev/guest-kernel
	@demo/guest

demo-recipes: packages-guest packages-recipes qemu
	@dev/guest-kernel
	@demo/recipes

demo-libvirt: packages-guest packages-libvirt qemu
	@dev/guest-kernel
	@demo/libvirt

demo-switchover: packages-guest packages-switchover $(if $(OUTPUT),packages-chart) qemu
	@dev/guest-kernel
	@demo/switchover $(if $(RUNS),--runs $(RUNS)) $(if $(OUTPUT),--output $(OUTPUT))

demo-vhost: packages-guest packages-host-vm qemu
	@dev/with-vhost 900 vhost/demo

check: packages-test qemu
	@dev/test

check-asan: packages-test packages-build tree
	@dev/build build-asan --enable-asan --enable-ubsan
	@dev/test build-asan

check-kernels: packages-test packages-host-vm qemu
	@dev/check-kernels $(if $(TESTS),--tests '$(TESTS)') $(KERNELS)

check-vhost: packages-guest packages-host-vm qemu
	@dev/with-vhost 3600 vhost/check $(if $(SHORT),--short)

fuzz: packages-fuzz qemu
	@dev/fuzz $(SECONDS)

soak: packages-soak qemu
	@demo/soak $(SECONDS)

each-commit: packages-build packages-test tree
	@dev/each-commit

configurations: packages-build packages-configurations tree
	@dev/configurations

bench: packages-bench packages-guest qemu
	@dev/guest-kernel
	@bench/bench

# some seconds: does the benchmark itself still work?
bench-check: packages-bench qemu
	@bench/bench --check

qemu: packages-build tree
	@dev/build

docs: packages-docs tree
	@dev/docs

tree: packages-source
	@dev/import

export:
	@dev/export

series: tree
	@dev/series

clean:
	@dev/clean

packages-%:
	@dev/packages $*

# apt, ninja and the tests each use the machine in their own way
.NOTPARALLEL:
.PHONY: help demo demo-guest demo-recipes demo-libvirt demo-switchover demo-vhost
.PHONY: check check-asan check-kernels check-vhost fuzz soak
.PHONY: each-commit configurations bench bench-check qemu docs tree export series clean
