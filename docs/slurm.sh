#!/bin/bash
#SBATCH --job-name=dnar2mae
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
# One torchrun a node, one process a GPU. 120 s before the time limit every process gets SIGTERM, writes a checkpoint and
# stops; the job is put back in the queue and goes on from there. A process that dies restarts the group, which resumes.
# Usage: sbatch docs/slurm.sh runs/big --config big.yaml --parallel fsdp
set -u
RUN=$1
shift
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
if [ -d "$RUN/checkpoints" ]; then set -- --resume; fi
srun torchrun --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node=8 --max-restarts=3 \
    --rdzv-backend=c10d --rdzv-endpoint="$HEAD:29500" --rdzv-id="$SLURM_JOB_ID" \
    -m dnar2mae.cli pretrain --out "$RUN" "$@"
if [ ! -f "$RUN/summary.json" ]; then scontrol requeue "$SLURM_JOB_ID"; fi
