/** Builds for ever in another world's folder, until it is killed: FOLDER CGROUP. Says each event in a line. */

import { victimBuild } from './build-kills.ts';
import { BuildWorld } from './build-world.ts';

const [folder = '', cgroupParent = ''] = process.argv.slice(2);
const world = await BuildWorld.open({ folder, cgroupParent });
await world.addBase('base:1');
for (let round = 0; ; round += 1) await victimBuild(world, `${process.pid}.${round}`, (what) => console.log(what));
