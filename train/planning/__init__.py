"""What `train.plan` needs: topologies, abstract runs, and compiled programs."""
