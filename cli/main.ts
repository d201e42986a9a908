#!/usr/bin/env -S node --
/** `covey`: what users type. It knows the cluster only through the Control service; exit codes are in exit.ts. */
// The `--` above keeps node from taking our --env-file for its own: Node 20 looks for that one even behind the script.
import { setImmediate } from 'node:timers/promises';
import { Command, CommanderError } from 'commander';
import { type ClusterError, explain, toClusterError } from '../common/errors.ts';
import { VERSION } from '../common/version.ts';
import { addBuildCommand } from './commands/build.ts';
import { addBuilderCommands } from './commands/builder.ts';
import { addClusterCommands } from './commands/cluster.ts';
import { addCommitCommand } from './commands/commit.ts';
import { addContainerFiles } from './commands/container-files.ts';
import { addContainerViews } from './commands/container-show.ts';
import { addContainerVerbs } from './commands/container-verbs.ts';
import { addEventsCommand } from './commands/events.ts';
import { addExecCommand } from './commands/exec.ts';
import { addImageCommands } from './commands/image.ts';
import { addLoginCommands } from './commands/login.ts';
import { addNodeCommands } from './commands/node.ts';
import { addRunCommands } from './commands/run.ts';
import { addServiceCommands } from './commands/service.ts';
import { addSystemCommands } from './commands/system.ts';
import { addVolumeCommands } from './commands/volume.ts';
import { EXIT } from './exit.ts';
import { refusalOf } from './flags/refused.ts';

function build(): Command {
  const program = new Command('covey')
    .description('Runs services on a cluster of hosts. A Swarm user needs no manual.')
    .version(VERSION, '-v, --version')
    .option('--context <file>', 'context file of the cluster (default: $COVEY_CONTEXT or ~/.covey/context.json)')
    .enablePositionalOptions()
    .showSuggestionAfterError(true);
  program.hook('preAction', (_program, action) => {
    const file = action.optsWithGlobals().context;
    if (typeof file === 'string') process.env.COVEY_CONTEXT = file;
  });
  addServiceCommands(program);
  addNodeCommands(program);
  addImageCommands(program);
  addBuildCommand(program);
  addBuilderCommands(program);
  addClusterCommands(program);
  addEventsCommand(program);
  addExecCommand(program);
  addRunCommands(program);
  addContainerVerbs(program);
  addContainerViews(program);
  addContainerFiles(program);
  addCommitCommand(program);
  addLoginCommands(program);
  addVolumeCommands(program);
  addSystemCommands(program);
  overrideExits(program);
  return program;
}

/** Every command throws instead of ending the process, so that one place gives the exit code. */
function overrideExits(command: Command): void {
  command.exitOverride();
  command.configureOutput({ writeErr: () => {} });
  for (const child of command.commands) overrideExits(child);
}

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.done;
    if (error.code === 'commander.help') process.stderr.write('covey: a command is missing; see covey --help\n');
    else process.stderr.write(`covey: ${refusalOf(error.message) ?? error.message.replace(/^error: /, '')}\n`);
    return EXIT.usage;
  }
  const known = toClusterError(error);
  process.stderr.write(`covey: ${explain(known)}\n`);
  if (process.env.COVEY_DEBUG !== undefined) process.stderr.write(`${known.stack}\n`);
  return isUsage(known) ? EXIT.usage : EXIT.error;
}

/** An `invalid` that names a flag was found in what the user typed, before any manager was asked. */
function isUsage(error: ClusterError): boolean {
  return error.code === 'invalid' && error.field?.startsWith('--') === true;
}

// A reader that has had enough (`covey … | head`) is no error.
process.stdout.on('error', (cause: NodeJS.ErrnoException) => {
  if (cause.code === 'EPIPE') process.exit(EXIT.done);
  process.stderr.write(`covey: standard output cannot be written: ${cause.message}\n`);
  process.exit(EXIT.error);
});

try {
  await build().parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
// What standard output did not take is told in the next turn of the loop.
await setImmediate();
// Channels may still be closing: nothing of them is worth waiting for.
process.exit();
