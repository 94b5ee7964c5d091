# A QEMU with AF_PACKET socket chardevs: from the patches and new files here to
# a binary, its demo and its tests.  "make" alone lists what there is to make.

export QEMU = $(CURDIR)/build/qemu-system-x86_64

help:
	@echo 'make demo        show it: QEMU as the wire between two network namespaces'
	@echo 'make demo-guest  show it: what a Linux guest sends and receives, in tcpdump'
	@echo 'make demo-recipes show it: the recipes of the manual, as they are written there'
	@echo 'make demo-libvirt show it: a libvirt domain that gets its packet sockets from virsh'
	@echo 'make check       run the tests: those of the series, and those of QEMU that it touches'
	@echo 'make check-asan  run those of the series with AddressSanitizer, LeakSanitizer and UBSan'
	@echo 'make fuzz        run the fuzzer for ten minutes; SECONDS=30 for less'
	@echo 'make soak        ten minutes of numbered frames and broken links; SECONDS=60 for less'
	@echo 'make bench       measure: CPU time per frame, latency, bursts; against a relay and bare loops'
	@echo 'make docs        build the manual of this QEMU, as web pages and man pages: manual/'
	@echo 'make qemu        build it: build/qemu-system-x86_64'
	@echo 'make qemu        build it: build/qemu-system-x86_64, and af-packet-exec'
	@echo 'make tree        assemble it: tree/, a git tree of QEMU with the series as commits'
	@echo 'make export      write the commits in tree/ back to the patches and new files here'
	@echo 'make series      write complete mails to series/, for "git am" in another QEMU tree'
	@echo 'make clean       remove tree/, build*/ and series/'
	@echo 'make clean       remove tree/, build/, manual/ and series/'
	@echo 'make each-commit     build and test the series commit by commit'
	@echo 'make configurations  build what it touches in other configurations of QEMU'
	@echo 'make clean       remove what all of these made here'
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

check: packages-test qemu
	@dev/test

check-asan: packages-test packages-build tree
	@dev/build build-asan --enable-asan --enable-ubsan
	@dev/test build-asan

SECONDS = 600
fuzz: packages-fuzz qemu
	@dev/fuzz $(SECONDS)

soak: packages-soak qemu
	@demo/soak $(SECONDS)

bench: packages-bench qemu
	@bench/bench

# some seconds: does the benchmark itself still work?
bench-check: packages-bench qemu
	@bench/bench --check

docs: packages-docs tree
	@dev/docs

qemu: packages-build tree
	@dev/build

tree: packages-source
	@dev/import

export:
	@dev/export

series: tree
	@dev/series

each-commit: packages-build packages-test tree
	@dev/each-commit

configurations: packages-build packages-configurations tree
	@dev/configurations

clean:
	@dev/clean

packages-%:
	@dev/packages $*

# apt, ninja and the tests each use the machine in their own way
.NOTPARALLEL:
.PHONY: help demo demo-guest check check-asan fuzz soak qemu tree export series clean bench bench-check docs demo-recipes demo-libvirt each-commit configurations
