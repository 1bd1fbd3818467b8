# SPDX-License-Identifier: MIT
"""Commands that move atoms, hold them, or change the box."""

from __future__ import annotations

from audit.entry import Entry

MOVE = (
    Entry("fix nve", "fix 1 all nve\nrun 20"),
    Entry("fix nvt", "fix 1 all nvt temp 5000 3000 0.05\nrun 15"),
    Entry(
        "fix npt tri, box flips",
        "fix 1 all npt temp 5000 5000 0.1 tri 0 0 0.1 xy -3e6 -3e6 0.05 flip yes\nrun 15",
        "positions box flip",
        start="triclinic",
    ),
    Entry(
        "fix npt aniso",
        "fix 1 all npt temp 5000 5000 0.1 aniso 1e5 1e5 0.05\nrun 15",
        "positions box",
    ),
    Entry("fix nph iso", "fix 1 all nph iso -1e5 -1e5 0.05\nrun 15", "positions box"),
    Entry("fix langevin", "fix 1 all nve\nfix 2 all langevin 5000 5000 0.02 48\nrun 15"),
    Entry(
        "fix temp/csvr, temp/berendsen, temp/rescale by group",
        "group some id 1:20\ngroup rest subtract all some\nfix 1 all nve\n"
        "fix 2 some temp/csvr 5000 2000 0.02 48\nfix 3 rest temp/berendsen 5000 8000 0.02\nrun 8\n"
        "unfix 2\nfix 2 some temp/rescale 2 3000 3000 10 1.0\nrun 8",
    ),
    Entry(
        "fix nve/limit, nve/noforce, setforce 0",
        "group some id 1:20\ngroup held id 21:30\ngroup rest subtract all some held\n"
        "fix 1 some nve/limit 0.05\nfix 2 held nve/noforce\nfix 3 rest nve\n"
        "fix 4 held setforce 0 0 NULL\nrun 15",
    ),
    Entry(
        "fix move wiggle, rotate, variable",
        "group a id 1:10\ngroup b id 11:20\ngroup c id 21:30\ngroup rest subtract all a b c\n"
        "variable d equal 0.3*sin(PI*elapsed*dt/0.02)\n"
        "variable v equal 47.1*cos(PI*elapsed*dt/0.02)\n"
        "fix 1 a move wiggle 0.5 0 0 0.05\nfix 2 b move rotate 4 4 4 0 0 1 0.2\n"
        "fix 3 c move variable v_d NULL NULL v_v NULL NULL\nfix 4 rest nve\nrun 15",
    ),
    Entry(
        "fix rigid/nve",
        "group a id 1:7\ngroup b id 20:24\ngroup rest subtract all a b\n"
        "fix 1 all rigid/nve group 2 a b\nfix 2 rest nve\nrun 15",
    ),
    Entry(
        "fix rigid/small of molecules",
        "comm_modify cutoff 8\nfix 1 all rigid/small molecule\nrun 10",
        start="molecules",
    ),
    Entry(
        "fix shake",
        "bond_style zero\nbond_coeff * 2.2\nfix 1 all nve\nfix 2 all shake 1e-6 100 0 b 1\nrun 10",
        start="molecules",
        has_bonds=False,
    ),
    Entry(
        "fix rattle",
        "bond_style zero\nbond_coeff * 2.2\nfix 1 all nve\nfix 2 all rattle 1e-6 100 0 b 1\nrun 10",
        start="molecules",
        has_bonds=False,
    ),
    Entry(
        "fix spring, spring/self, addforce, aveforce, lineforce, planeforce, drag, smd",
        "group a id 1:10\ngroup b id 11:20\ngroup c id 21:30\nfix 0 all nve\n"
        "fix 1 a spring tether 5 2 2 2 0\nfix 2 b spring/self 10\nfix 3 c addforce 1 0 0\n"
        "fix 4 a aveforce 0 NULL NULL\nfix 5 b lineforce 1 0 0\nfix 6 c planeforce 0 0 1\n"
        "fix 7 a drag 4 4 4 2 0.1\nfix 8 c smd cvel 5 0.1 tether 1 1 1 0\nrun 15",
    ),
    Entry(
        "fix momentum, recenter, viscous, gravity",
        "fix 1 all nve\nfix 2 all momentum 2 linear 1 1 1 angular\n"
        "fix 3 all recenter INIT INIT INIT\n"
        "fix 4 all viscous 0.1\nfix 5 all gravity 50 vector 1 0 0\nrun 15",
    ),
    Entry(
        "fix wall/reflect, wall/lj93, indent",
        "fix 1 all nve\nfix 2 all wall/reflect zlo 1.5 zhi 7.5\n"
        "fix 3 all wall/lj93 zhi EDGE 0.1 1 2.5\nfix 4 all indent 10 sphere 4 4 9 2\nrun 20",
        start="slab",
    ),
    Entry(
        "fix wall/piston, append/atoms",
        "change_box all boundary p p sm\nlattice bcc 2.9\nfix 1 all nve\n"
        "fix 2 all wall/piston zlo vel 5 pos 1\nfix 3 all append/atoms zhi size 2.9 freq 4\nrun 15",
        "positions box number",
        start="slab",
    ),
    Entry("fix msst", "fix 1 all msst z 20 q 100 mu 0.1 tscale 0.01\nrun 10", "positions box"),
    Entry("fix tfmc", "fix 1 all tfmc 0.1 3000 48\nrun 15"),
    Entry("fix hmc", "fix 1 all hmc 3 48 5000 resample yes\nfix 2 all nve\nrun 12"),
    Entry("fix ti/spring", "fix 2 all nve\nfix 1 all ti/spring 5 10 5\nrun 15"),
    Entry(
        "fix nvt/sllod with deform",
        "change_box all triclinic\nfix 2 all deform 1 xy erate 2 remap v\n"
        "fix 1 all nvt/sllod temp 5000 5000 0.1\nrun 15",
        "positions box",
    ),
    Entry(
        "velocity, displace_atoms",
        "fix 1 all nve\nrun 3\nvelocity all scale 300\n"
        "displace_atoms all random 0.2 0.2 0.2 7\nrun 3\n"
        "displace_atoms all rotate 4 4 4 1 1 0 30\nrun 3\n"
        "displace_atoms all ramp x 0 1 y 0 8\nrun 3",
    ),
    Entry(
        "fix restrain",
        "fix 1 all nve\nfix 2 all restrain bond 1 2 10 10 2.5\nrun 10",
    ),
    Entry(
        "fix enforce2d, two dimensions", "fix 1 all nve\nfix 2 all enforce2d\nrun 15", start="flat"
    ),
    Entry(
        "fix pimd/langevin of one bead",
        "fix 1 all pimd/langevin temp 5000 thermostat PILE_L 12 tau 0.1\nrun 10",
    ),
    Entry(
        "fix brownian, accelerate/cos",
        "fix 1 all brownian 5 48 gamma_t 0.5\nfix 2 all accelerate/cos 0.1\nrun 15",
    ),
)
BOX = (
    Entry(
        "fix deform remap x",
        "fix 1 all nve\nfix 2 all deform 1 x erate -3 y erate 3\nrun 15",
        "positions box",
    ),
    Entry(
        "fix deform, shear that flips",
        "fix 1 all nve\nfix 2 all deform 1 xy erate 20 remap v\nrun 20",
        "positions box flip",
        start="triclinic",
    ),
    Entry(
        "fix press/berendsen",
        "fix 1 all nve\nfix 2 all press/berendsen iso 0 1e6 0.1 modulus 1e5\nrun 15",
        "positions box",
    ),
    Entry(
        "fix press/langevin",
        "fix 1 all nve\nfix 2 all press/langevin iso 0 1e5 0.1 temp 5000 5000 48\nrun 15",
        "positions box",
    ),
    Entry(
        "fix box/relax",
        "fix 1 all box/relax tri 0 vmax 0.01\nminimize 0 1e-6 8 40",
        "positions box",
        start="triclinic",
    ),
    Entry(
        "change_box",
        "fix 1 all nve\nrun 3\nchange_box all x scale 1.03 y volume remap\nrun 3\n"
        "change_box all triclinic xy delta 1 remap\nrun 3\nchange_box all boundary p p f\nrun 3",
        "positions box",
    ),
    Entry(
        "boundary s s s",
        "change_box all boundary s s s\nfix 1 all nve\nrun 15",
        "positions box",
        start="droplet",
    ),
    Entry(
        "boundary m",
        "change_box all boundary p p m\nfix 1 all nve\nrun 15",
        start="slab",
    ),
    Entry(
        "replicate",
        "fix 1 all nve\nrun 3\nunfix 1\nreplicate 2 1 1\nfix 1 all nve\nrun 3",
        "number box",
        start="triclinic",
    ),
    Entry("a box smaller than r_cut", "fix 1 all nve\nrun 15", start="small cell"),
    Entry(
        "set image",
        "fix 1 all nve\nrun 3\nset group all image 2 -1 0\nrun 3",
    ),
)
