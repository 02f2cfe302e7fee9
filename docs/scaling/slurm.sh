#!/bin/bash
#SBATCH --job-name=resvision
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue

# Begins the run, or goes on with it after a requeue; its folder has the job's number.
srun resvision fit --config cls_imagenet.yaml --config docs/scaling/slurm.yaml \
  --run_dir "runs/slurm-$SLURM_JOB_ID" --resume auto
code=$?
if [ "$code" -eq 143 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
